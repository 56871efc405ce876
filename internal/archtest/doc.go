// Package archtest holds the import law of this module as a test: who may import whom, and which packages may know a
// third-party library. The law is in law_test.go; every line has its reason, and a line that nothing uses fails.
package archtest
