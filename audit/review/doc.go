// Package review tells the story of an audit log: which labels of service accounts changed and who changed them, who took whose
// identity, which policies changed, what was denied, and what went around saguard.
//
// A [Builder] is given entries one by one and keeps only rows; a [Review] is a plain value that does not depend on the level of
// the log where saguard decided, because what it says of such a request comes from the decision's annotations, which are the
// same at every level. Bodies are used only where there is no decision.
//
// Nothing is guessed: a request whose effect the log does not tell is listed as such, and an old value that the log does not
// prove is not given.
package review
