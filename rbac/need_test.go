package rbac_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func q(name string) rbac.Question { return rbac.UseAccount("prod", name) }

func ask1(name string) rbac.Need { return rbac.Ask(q(name)) }

// Names a and b are granted by the index, r by review, e cannot be reviewed; n is denied.
func evaluator(t *testing.T, w func(*rbac.Options)) (*rbac.Authorizer, *reviewer) {
	t.Helper()
	store := rbactest.MustParse(t, "clusterrole r use serviceaccounts a,b\nclusterbind b clusterrole:r user:alice").Store()
	r := &reviewer{allow: []string{"r"}, fail: []string{"e"}}
	o := rbac.Options{Index: store.Snapshot, Reviewer: r}
	if w != nil {
		w(&o)
	}
	return newAuthorizer(t, o), r
}

func TestEvaluate(t *testing.T) {
	cases := map[string]struct {
		need    rbac.Need
		met     bool
		tuples  []string // in order; "-" before a denied one, "?" before an unanswered one
		missing []string
		unmet   string
		err     error
	}{
		"the zero need is not met":        {unmet: "what nobody can have"},
		"all of nothing is met":           {need: rbac.All(), met: true},
		"any of nothing is not":           {need: rbac.Any(), unmet: "what nobody can have"},
		"all with a zero need is not met": {need: rbac.All(ask1("a"), rbac.Need{}), tuples: []string{"a"}, unmet: "what nobody can have"},
		"one granted":                     {need: ask1("a"), met: true, tuples: []string{"a"}},
		"one denied": {
			need: ask1("n"), tuples: []string{"-n"}, missing: []string{"n"}, unmet: "use serviceaccounts n in prod",
		},
		"all asks every part, so that all that is missing is named": {
			need: rbac.All(ask1("n"), ask1("a"), ask1("m")), tuples: []string{"-n", "a", "-m"}, missing: []string{"n", "m"},
			unmet: "use serviceaccounts n in prod and use serviceaccounts m in prod",
		},
		"any stops at the first": {need: rbac.Any(ask1("a"), ask1("b")), met: true, tuples: []string{"a"}},
		"any prefers what needs no review": {
			need: rbac.Any(ask1("r"), rbac.All(ask1("a"), ask1("n")), rbac.All(ask1("a"), ask1("b"))), met: true, tuples: []string{"a", "b"},
		},
		"any goes to review in order": {need: rbac.Any(ask1("n"), ask1("r"), ask1("m")), met: true, tuples: []string{"-n", "r"}},
		"each question is asked once": {
			need: rbac.All(ask1("a"), rbac.Any(ask1("n"), ask1("a")), ask1("n")), tuples: []string{"a", "-n"}, missing: []string{"n"},
			unmet: "use serviceaccounts n in prod",
		},
		"what is unmet tells all from any": {
			need: rbac.All(ask1("a"), rbac.Any(ask1("n"), rbac.All(ask1("m"), ask1("o")))), tuples: []string{"a", "-n", "-m", "-o"},
			missing: []string{"n", "m", "o"},
			unmet:   "use serviceaccounts n in prod or (use serviceaccounts m in prod and use serviceaccounts o in prod)",
		},
		"an error is no allowance":                       {need: ask1("e"), tuples: []string{"?e"}, err: errReview},
		"an error in all is an error":                    {need: rbac.All(ask1("a"), ask1("e")), tuples: []string{"a", "?e"}, err: errReview},
		"an error in any is no denial":                   {need: rbac.Any(ask1("e"), ask1("n")), tuples: []string{"?e", "-n"}, err: errReview},
		"any is met whatever could not be asked":         {need: rbac.Any(ask1("e"), ask1("r")), met: true, tuples: []string{"?e", "r"}},
		"all is denied whatever could not be asked":      {need: rbac.All(ask1("e"), ask1("n")), tuples: []string{"?e", "-n"}, missing: []string{"n"}, unmet: "use serviceaccounts n in prod"},
		"an unanswered question is not asked once again": {need: rbac.All(ask1("e"), ask1("e")), tuples: []string{"?e"}, err: errReview},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, _ := evaluator(t, nil)
			out, err := a.Evaluate(t.Context(), user("alice"), tc.need)
			if out.Met != tc.met || !errors.Is(err, tc.err) || err != nil && tc.err == nil {
				t.Errorf("met %v, error %v; want %v, %v", out.Met, err, tc.met, tc.err)
			}
			var tuples, missing []string
			for _, tuple := range out.Tuples {
				mark := ""
				if tuple.Unanswered {
					mark = "?"
				} else if !tuple.Allowed {
					mark = "-"
				}
				if tuple.Allowed != (tuple.GrantedBy != "") {
					t.Errorf("tuple %+v", tuple)
				}
				tuples = append(tuples, mark+tuple.Name)
			}
			for _, m := range out.Missing {
				missing = append(missing, m.Name.String())
			}
			if !slices.Equal(tuples, tc.tuples) || !slices.Equal(missing, tc.missing) {
				t.Errorf("tuples %q, missing %q; want %q, %q", tuples, missing, tc.tuples, tc.missing)
			}
			if text := out.Unmet.String(); tc.unmet != "" && text != tc.unmet {
				t.Errorf("unmet %q, want %q", text, tc.unmet)
			}
		})
	}
}

func TestTupleJSON(t *testing.T) {
	a, _ := evaluator(t, nil)
	out, err := a.Evaluate(t.Context(), user("alice"), rbac.All(ask1("a"), rbac.Ask(rbac.UseLabel("prod", "web", "role", "intern")), rbac.Ask(rbac.UseBand("", "x"))))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(out.Tuples)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"verb":"use","resource":"serviceaccounts","name":"a","namespace":"prod","allowed":true,"grantedBy":"ClusterRoleBinding b of ClusterRole r rule 0"},` +
		`{"verb":"use","resource":"serviceaccounts/labels","name":"role=intern","namespace":"prod","allowed":false},` +
		`{"verb":"use","resource":"policybands","group":"saguard.io","name":"x","allowed":false}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNeedQuestions(t *testing.T) {
	n := rbac.All(ask1("b"), rbac.Any(ask1("a"), ask1("b"), rbac.All(ask1("c"), rbac.Need{})))
	if got := n.Questions(); !slices.Equal(got, []rbac.Question{q("b"), q("a"), q("c")}) {
		t.Errorf("got %v", got)
	}
	if got := (rbac.Need{}).Questions(); len(got) != 0 {
		t.Errorf("the zero need asks %v", got)
	}
}

func randomNeed(rng *rand.Rand, depth int) rbac.Need {
	var parts []rbac.Need
	if depth > 0 {
		for range rng.IntN(4) {
			parts = append(parts, randomNeed(rng, depth-1))
		}
	}
	switch rng.IntN(8) {
	case 0:
		return rbac.Need{}
	case 1, 2, 3:
		return rbac.All(parts...)
	case 4, 5:
		return rbac.Any(parts...)
	default:
		return ask1([]string{"a", "b", "r", "n", "m", "e"}[rng.IntN(6)])
	}
}

// Whatever could not be asked might be "yes" or "no": if both give one result, that is the result, else it is an error. And to
// be granted what is unmet is enough, and needed.
func TestEvaluateAgreesWithTruthTable(t *testing.T) {
	counts := map[string]int{}
	for seed := range uint64(4000) {
		rng := rbactest.NewRand(seed)
		need := randomNeed(rng, 4)
		a, r := evaluator(t, func(o *rbac.Options) {
			if seed%2 == 1 {
				o.Index = nil
				o.Reviewer = &reviewer{allow: []string{"a", "b", "r"}, fail: []string{"e"}}
			}
		})
		truth := func(e bool) bool {
			return need.Met(func(q rbac.Question) bool {
				name := q.Name.String()
				return name == "a" || name == "b" || name == "r" || e && name == "e"
			})
		}
		out, err := a.Evaluate(t.Context(), user("alice"), need)
		switch {
		case truth(false):
			counts["met"]++
			if !out.Met || err != nil || out.Missing != nil {
				t.Fatalf("seed %d: %s: %+v, %v; want met", seed, need, out, err)
			}
		case truth(true):
			counts["error"]++
			if out.Met || !errors.Is(err, errReview) {
				t.Fatalf("seed %d: %s: %+v, %v; want an error", seed, need, out, err)
			}
		default:
			counts["unmet"]++
			if out.Met || err != nil {
				t.Fatalf("seed %d: %s: %+v, %v; want not met", seed, need, out, err)
			}
			helped := need.Met(func(q rbac.Question) bool { return q.Name.String() != "e" })
			if granted := out.Unmet.Met(func(rbac.Question) bool { return true }); granted && !need.Met(func(rbac.Question) bool { return true }) {
				t.Fatalf("seed %d: %s: unmet %s could be met, the need cannot", seed, need, out.Unmet)
			} else if helped && !granted {
				t.Fatalf("seed %d: %s: could be met, but unmet is %s", seed, need, out.Unmet)
			}
		}
		seen := map[string]bool{}
		for _, tuple := range out.Tuples {
			if seen[tuple.Name] {
				t.Fatalf("seed %d: %s asked twice", seed, tuple.Name)
			}
			seen[tuple.Name] = true
		}
		if asked := r.take(); len(slices.Compact(asked)) != len(asked) {
			t.Fatalf("seed %d: reviewed twice: %q", seed, asked)
		}
		again, againErr := a.Evaluate(t.Context(), user("alice"), need)
		if !slices.Equal(again.Tuples, out.Tuples) || (againErr == nil) != (err == nil) {
			t.Fatalf("seed %d: %v, %v then %v, %v", seed, out.Tuples, err, again.Tuples, againErr)
		}
	}
	for _, result := range []string{"met", "unmet", "error"} {
		if counts[result] < 100 {
			t.Errorf("only %d formulas were %s", counts[result], result)
		}
	}
}
