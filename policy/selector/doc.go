// Package selector is Calico's label-selector language: parser, canonical
// form, evaluation, rewriting, and the authorization formula that says which
// grants cover everything a selector can select.
//
// The language is that of projectcalico/calico libcalico-go/lib/selector
// (master of August 2026). A selector that Calico refuses is refused here, one
// that Calico accepts means the same here; the few inputs that are refused
// although Calico accepts them are listed by [Divergences].
//
//	expr  := and ("||" and)*
//	and   := op ("&&" op)*
//	op    := "!"* ( "(" expr ")" | "all()" | "global()" | "has(" key ")" | key test )
//	test  := ("==" | "!=" | "contains" | "starts with" | "ends with") string
//	       | ("in" | "not in") "{" [string ("," string)* [","]] "}"
//	string:= "'" any byte but ' "'" | '"' any byte but " '"'   (no escapes)
//	key   := [A-Za-z0-9_./-]{1,512}
//
// Blanks are space and tab only; a line break is an error. The empty selector
// is all(). "starts with", "ends with" and "not in" may be written in one word.
//
// Values of [Selector] are immutable and safe for concurrent use.
package selector
