// Package certificates keeps the webhook's serving certificate, in a Secret of its namespace and in the caBundle of its
// configurations, and serves it. What to do is package rotation's to decide; here are the reading and the writing.
//
// Every replica does it, without a leader: each write is refused if its object was changed since it was read, so that of two
// replicas at the same step one wins and the other looks again. Neither the Secret nor the configurations are sent to the
// webhook (the namespace is excluded, and no webhook is ever asked about webhook configurations), so that all of it can be
// repaired while no replica answers.
package certificates
