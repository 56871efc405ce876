// Package both has no code: its test is the one place that knows all backends, for what happens between them.
package both
