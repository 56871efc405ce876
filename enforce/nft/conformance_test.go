package nft_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/appliertest"
	"github.com/saguard/saguard/enforce/nft"
)

// run runs the nft program, in the calling thread's network namespace.
func run(args ...string) (string, error) {
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// tableName is the name of the table that is in force.
func tableName() (string, error) {
	out, err := run("list", "tables", "inet")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(out, "\n") {
		if name, ok := strings.CutPrefix(line, "table inet "); ok && strings.HasPrefix(name, "saguard_") {
			return name, nil
		}
	}
	return "", fmt.Errorf("no table of ours: %s", out)
}

// TestConformance holds this backend to what every Applier has to satisfy.
func TestConformance(t *testing.T) {
	damage := func(commands ...string) func(appliertest.Node) error {
		return func(appliertest.Node) error {
			name, err := tableName()
			if err != nil {
				return err
			}
			for _, c := range commands {
				if _, err := run(strings.Fields(strings.ReplaceAll(c, "saguard", name))...); err != nil {
					return err
				}
			}
			return nil
		}
	}
	appliertest.Run(t, appliertest.Backend{
		Name: "nft",
		Open: func(appliertest.Node) (enforce.Applier, error) { return nft.New(nft.Options{}) },
		Remove: func(appliertest.Node) error {
			a, err := nft.New(nft.Options{})
			if err != nil {
				return err
			}
			if err := a.Remove(context.Background()); err != nil { //nolint:forbidigo // a Backend has no context
				return err
			}
			return a.Close()
		},
		Tampers: map[string]func(appliertest.Node) error{
			"flush the ruleset":                 damage("flush ruleset"),
			"delete the table":                  damage("delete table inet saguard"),
			"let everything pass first":         damage("insert rule inet saguard ingress accept"),
			"empty the first chain":             damage("flush chain inet saguard egress"),
			"take the endpoints out":            damage("flush set inet saguard endpoints4"),
			"put an address in":                 damage("add element inet saguard recent4 { 203.0.113.77 }"),
			"put the table to sleep":            damage("add table inet saguard { flags dormant; }"),
			"add a chain at the hook":           damage("add chain inet saguard early { type filter hook forward priority -500; policy accept; }"),
			"replace the table by an empty one": damage("delete table inet saguard", "add table inet saguard"),
		},
		Objects: func(appliertest.Node) (int, error) {
			out, err := run("-j", "list", "ruleset")
			if err != nil {
				return 0, err
			}
			var list struct {
				Nftables []map[string]struct {
					Name, Table string
					Elem        []json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(out), &list); err != nil {
				return 0, err
			}
			n := 0
			for _, object := range list.Nftables {
				for _, o := range object {
					if strings.HasPrefix(o.Name+o.Table, "saguard_") {
						n += 1 + len(o.Elem)
					}
				}
			}
			return n, nil
		},
	})
}
