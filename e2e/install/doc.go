// Package install puts saguard, as its chart renders it, into a real control plane on loopback: for the end-to-end tests,
// the demonstration and the benchmarks. The webhook is the real binary, runs under the identity and with the permissions
// that the chart gives it, and is registered by URL.
package install
