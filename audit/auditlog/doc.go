// Package auditlog reads what API servers and saguard log, as a stream: kube-apiserver audit logs (audit.k8s.io/v1, one event a
// line, or an EventList) and saguard's own log (one JSON object a line, of which decision records are taken).
//
// A log is evidence, often damaged: lines are cut off, interleaved with others, garbage, far too long, there twice. Nothing of
// that ends a read, everything is counted in [Stats], and no line that cannot be read whole gives an entry. Memory is bounded
// by the longest line that is accepted, whatever the length of the log.
//
// Most lines of an audit log are about resources that have nothing to do with identities. They are passed over without being
// decoded, by looking at their objectRef; whatever looks unusual is decoded.
//
// Bodies of Secrets, and of requests for tokens, are dropped here, so that no reader can show them.
package auditlog
