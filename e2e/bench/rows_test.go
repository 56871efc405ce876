package bench_test

import (
	"fmt"
	"strconv"
)

// operation is what a PATCH does to a service account.
type operation int

const (
	// changeValue gives a guarded label another value: one permission for the old, one for the new.
	changeValue operation = iota
	// putAndTakeOff adds a guarded label, or removes it, in turns; ours then rewrites the annotation labelled-by.
	putAndTakeOff
	// annotate leaves the labels alone.
	annotate
)

// patch is the n-th JSON merge patch of a series; none leaves the object as it was.
func (o operation) patch(n int) []byte {
	switch o {
	case changeValue:
		return fmt.Appendf(nil, `{"metadata":{"labels":{"role":"r%d"}}}`, n%2)
	case putAndTakeOff:
		if n%2 == 0 {
			return []byte(`{"metadata":{"labels":{"role":"r0"}}}`)
		}
		return []byte(`{"metadata":{"labels":{"role":null}}}`)
	default:
		return []byte(`{"metadata":{"annotations":{"example.com/n":"` + strconv.Itoa(n) + `"}}}`)
	}
}

// perPatch is how often each webhook is called for one PATCH of a row. It is asserted, before and after.
type perPatch struct{ oursValidate, oursMutate, allValidate, allMutate int }

func (p perPatch) times(n int) perPatch {
	return perPatch{p.oursValidate * n, p.oursMutate * n, p.allValidate * n, p.allMutate * n}
}

func (p perPatch) plus(q perPatch) perPatch {
	return perPatch{p.oursValidate + q.oursValidate, p.oursMutate + q.oursMutate, p.allValidate + q.allValidate, p.allMutate + q.allMutate}
}

// row is one line of the results: a kind of PATCH in a namespace of its own, by which webhooks are selected.
type row struct {
	name, namespace string
	op              operation
	// judged says that ours is registered for the namespace.
	judged bool
	// annotated gives the accounts the annotation that saguard writes on those it judges, so that the objects are the same.
	annotated bool
	// validatingOnly takes the mutating of ours away there.
	validatingOnly bool
	calls          perPatch
}

// Names of rows that others are compared with.
const (
	noWebhook          = "no webhook"
	noWebhookUnchanged = "no webhook, labels unchanged"
	allowValidating    = "allow-all, validating"
	allowBoth          = "allow-all, mutating + validating"
	allowBothAnnotated = "allow-all, mutating + validating, account annotated as by saguard"
	allowBothPutOff    = "allow-all, mutating + validating, label put on or taken off"
	oursValidating     = "saguard, validating"
	oursBoth           = "saguard as installed (mutating + validating)"
	oursBothPutOff     = "saguard as installed, label put on or taken off"
	oursUnchanged      = "saguard as installed, labels unchanged"
	oneUnchanged       = "saguard, validating, labels unchanged"
)

// rows lists every measurement. Those named "again" are a second namespace of the same kind: what they differ by is noise. Both
// webhooks are called equally often a round: one that is called less finds the processor's caches colder.
func rows() []row {
	both := perPatch{oursValidate: 1, oursMutate: 1}
	allBoth := perPatch{allValidate: 1, allMutate: 1}
	return []row{
		{name: noWebhook, namespace: "none", op: changeValue},
		{name: noWebhook + ", again", namespace: "none-again", op: changeValue},
		{name: allowValidating, namespace: "all-validating", op: changeValue, calls: perPatch{allValidate: 1}},
		{name: allowBoth, namespace: "all-both", op: changeValue, calls: allBoth},
		{name: allowBothAnnotated, namespace: "all-both-annotated", op: changeValue, annotated: true, calls: allBoth},
		{name: allowBothPutOff, namespace: "all-both-put-off", op: putAndTakeOff, calls: allBoth},
		{name: oursValidating, namespace: "ours-validating", op: changeValue, judged: true, validatingOnly: true, calls: perPatch{oursValidate: 1}},
		{name: oursBoth, namespace: "ours", op: changeValue, judged: true, calls: both},
		{name: oursBoth + ", again", namespace: "ours-again", op: changeValue, judged: true, calls: both},
		{name: oursBothPutOff, namespace: "ours-put-off", op: putAndTakeOff, judged: true, calls: both},
		{name: noWebhookUnchanged, namespace: "none-unchanged", op: annotate},
		{name: oneUnchanged, namespace: "ours-validating-unchanged", op: annotate, judged: true, validatingOnly: true},
		{name: oursUnchanged, namespace: "ours-unchanged", op: annotate, judged: true},
	}
}

// comparison is a ratio that the results show; target 0 has none.
type comparison struct {
	row, baseline string
	target        float64
}

func latencyComparisons() []comparison {
	return []comparison{
		{noWebhook + ", again", noWebhook, 0},
		{oursBoth + ", again", oursBoth, 0},
		{allowValidating, noWebhook, 0},
		{allowBoth, noWebhook, 0},
		{allowBothAnnotated, allowBoth, 0},
		{oursBoth, noWebhook, 0},
		{oursValidating, allowValidating, 1.05},
		{oursBoth, allowBoth, 1.05},
		{oursBoth, allowBothAnnotated, 0},
		{oursBothPutOff, allowBothPutOff, 0},
		{oneUnchanged, noWebhookUnchanged, 1.1},
		{oursUnchanged, noWebhookUnchanged, 1.1},
	}
}

func cpuComparisons() []comparison {
	return []comparison{
		{oursBoth + ", again", oursBoth, 0},
		{allowBothAnnotated, allowBoth, 0},
		{oursValidating, allowValidating, 1.3},
		{oursBoth, allowBoth, 1.3},
		{oursBoth, allowBothAnnotated, 0},
		{oursBothPutOff, allowBothPutOff, 0},
	}
}
