// Package eval is the reference evaluator: a snapshot and a flow in, a verdict and what decided it out. It is slow and
// obvious on purpose: it walks tiers, policies and rules in order and asks each condition. It is the oracle that the
// compiler is held against, and the runtime of the identity check.
//
// Only the first packet of a connection is judged: no connection tracking, no address translation, no host endpoints.
package eval
