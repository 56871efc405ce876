package nodeapi

import (
	"fmt"
	"io"
	"strings"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy/eval"
)

// Answer says what becomes of the connection in a Question.
type Answer struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Verdict is what this node's kernel does: "Deny", "Allow", or "NotJudged" where neither end is a pod of the node.
	Verdict string `json:"verdict"`
	// KernelError says why the kernel could not be asked; Verdict is then what the rules say that it should do.
	KernelError string `json:"kernelError,omitempty"`
	// Disagreement says that the kernel does not do what the rules say.
	Disagreement bool   `json:"disagreement,omitempty"`
	Egress       AnEnd  `json:"egress"`
	Ingress      AnEnd  `json:"ingress"`
	Revision     uint64 `json:"revision"`
}

// AnEnd is what the policies of one end say.
type AnEnd struct {
	// Here: the end is a pod of this node, so that this kernel judges it.
	Here bool `json:"here"`
	// Kernel and Rule are what the kernel decides and by which rule.
	Kernel string `json:"kernel,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Wanted and WantedRule are what the compiled rules say.
	Wanted     string `json:"wanted,omitempty"`
	WantedRule string `json:"wantedRule,omitempty"`
	// Policy is the verdict of the policies themselves, whatever node the pod is on, "" if the end is no pod; Steps are the
	// way to it.
	Policy string   `json:"policy,omitempty"`
	Steps  []string `json:"steps,omitempty"`
}

// answer puts together what the kernel, the rules and the policies say.
func answer(e enforce.Explanation, r eval.Result) Answer {
	a := Answer{
		Source: e.Source.String(), Destination: e.Target.String(), KernelError: e.KernelError, Revision: e.Revision,
		Disagreement: e.KernelError == "" && !e.Agree,
		Egress:       end(e.Egress, e.EgressRule, e.WantedEgress, r.Egress),
		Ingress:      end(e.Ingress, e.IngressRule, e.WantedIngress, r.Ingress),
	}
	verdict := "NotJudged"
	for _, d := range []AnEnd{a.Egress, a.Ingress} {
		says := d.Kernel
		if e.KernelError != "" {
			says = d.Wanted
		}
		if says == "Deny" || says == "Allow" && verdict != "Deny" {
			verdict = says
		}
	}
	a.Verdict = verdict
	return a
}

func end(k enforce.KernelDecision, rule ruleset.Rule, w ruleset.Decision, p eval.Decision) AnEnd {
	out := AnEnd{Here: w.Applies}
	if k.Applies {
		out.Kernel, out.Rule = word(k.Allow), rule.String()
	}
	if w.Applies {
		out.Wanted, out.WantedRule = word(w.Allow), w.Rule.String()
	}
	if p.Applies {
		out.Policy = word(p.Verdict == decision.Allow)
		for _, s := range p.Trace {
			out.Steps = append(out.Steps, step(s))
		}
	}
	return out
}

func word(allow bool) string {
	if allow {
		return "Allow"
	}
	return "Deny"
}

func step(s eval.Step) string {
	where := "namespace profile"
	switch {
	case s.Tier != "" && s.Rule == eval.EndOfTier && s.Policy.Name == "":
		where = "end of tier " + s.Tier
	case s.Rule == eval.EndOfTier && s.Policy.Name != "":
		where = fmt.Sprintf("tier %s, %s", s.Tier, s.Policy)
	case s.Tier != "":
		where = fmt.Sprintf("tier %s, %s, rule %d", s.Tier, s.Policy, s.Rule)
	}
	switch {
	case !s.Matched:
		return where + ": no match"
	case s.Unparsed:
		return where + ": " + s.Action.String() + ", because it could not be read"
	default:
		return where + ": " + s.Action.String()
	}
}

// Render writes the answer for people.
func (a *Answer) Render(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "from     %s\nto       %s\nverdict  %s\n", a.Source, a.Destination, a.Verdict)
	if a.KernelError != "" {
		fmt.Fprintf(&b, "WARNING  the kernel could not be asked: %s\n", a.KernelError)
	}
	if a.Disagreement {
		b.WriteString("WARNING  the kernel does not do what the rules say\n")
	}
	for _, e := range []struct {
		name string
		end  AnEnd
	}{{"egress", a.Egress}, {"ingress", a.Ingress}} {
		switch {
		case e.end.Here:
			fmt.Fprintf(&b, "\n%s, judged on this node\n  kernel   %s by %s\n  rules    %s by %s\n", e.name, or(e.end.Kernel), or(e.end.Rule), e.end.Wanted, e.end.WantedRule)
		case e.end.Policy != "":
			fmt.Fprintf(&b, "\n%s, judged on another node\n", e.name)
		default:
			fmt.Fprintf(&b, "\n%s, not judged: no pod\n", e.name)
		}
		if e.end.Policy != "" {
			fmt.Fprintf(&b, "  policies %s\n", e.end.Policy)
		}
		for _, s := range e.end.Steps {
			fmt.Fprintf(&b, "    %s\n", s)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func or(text string) string {
	if text == "" {
		return "(nothing)"
	}
	return text
}
