package reachview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/reach"
)

// Filter says which cells are shown. The zero value shows all.
type Filter struct {
	// Namespace is where one end at least has to be.
	Namespace string
	// From and To are "namespace", "namespace/account" or the name of addresses outside of the cluster.
	From, To string
}

// Check returns an error if From, To or Namespace names nobody: an empty answer to a typing error would mislead.
func (f Filter) Check(parties []reach.Party) error {
	for _, want := range []struct{ flag, name string }{{"namespace", f.Namespace}, {"from", f.From}, {"to", f.To}} {
		if want.name == "" || slices.ContainsFunc(parties, func(p reach.Party) bool {
			return is(p, want.name) && (want.flag != "namespace" || p.Namespace == want.name)
		}) {
			continue
		}
		return fmt.Errorf("--%s %s: no pod runs there, and no address outside of the cluster has that name", want.flag, want.name)
	}
	return nil
}

func is(p reach.Party, name string) bool {
	return p.Name == name || p.Namespace != "" && p.Namespace == strings.TrimSuffix(name, "/")
}

func (f Filter) shows(from, to reach.Party) bool {
	return (f.Namespace == "" || from.Namespace == f.Namespace || to.Namespace == f.Namespace) &&
		(f.From == "" || is(from, f.From)) && (f.To == "" || is(to, f.To))
}
