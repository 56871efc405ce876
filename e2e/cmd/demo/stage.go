package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/e2e/install"
)

// stage runs commands as people and checks what they print.
type stage struct {
	ctx           context.Context //nolint:containedctx // the life of one play
	i             *install.Installation
	steps, failed int
}

// person is somebody with a client certificate.
type person struct {
	name       string
	kubeconfig string
}

func (s *stage) person(name string, groups ...string) (person, error) {
	path, err := s.i.CP.Kubeconfig(name, groups...)
	if err != nil {
		return person{}, err
	}
	return person{name: name, kubeconfig: path}, nil
}

// chapter prints a heading.
func (s *stage) chapter(title string) { fmt.Printf("\n== %s\n", title) }

// say prints what the next steps are about.
func (s *stage) say(text string) { fmt.Printf("\n   %s\n", text) }

// expect runs kubectl and prints it as on that person's terminal. want is "ok", or what the refusal must say.
func (s *stage) expect(p person, want string, args ...string) error {
	return s.expectStdin(p, want, "", args...)
}

func (s *stage) expectStdin(p person, want, stdin string, args ...string) error {
	s.steps++
	fmt.Printf("\n%s$ kubectl %s\n", p.name, shell(args))
	if stdin != "" {
		fmt.Println(indent(stdin, "  | "))
	}
	out, err := s.i.CP.KubectlStdin(s.ctx, p.kubeconfig, strings.NewReader(stdin), args...)
	if err != nil {
		return err
	}
	fmt.Print(out.Stdout, out.Stderr)
	ok := out.Code == 0
	if want != "ok" {
		ok = out.Code != 0 && strings.Contains(out.Stdout+out.Stderr, want)
	}
	if !ok {
		s.failed++
		fmt.Printf("   ^ NOT as expected: exit code %d, want %s\n", out.Code, want)
	}
	return nil
}

// saguard runs kubectl saguard as a person and returns what it printed.
func (s *stage) saguard(p person, args ...string) (string, error) {
	s.steps++
	fmt.Printf("\n%s$ kubectl saguard %s\n", p.name, shell(args))
	out, err := s.i.Saguard(s.ctx, p.kubeconfig, args...)
	if err != nil {
		return "", err
	}
	fmt.Print(out.Stdout, out.Stderr)
	if out.Code != 0 {
		s.failed++
		fmt.Printf("   ^ NOT as expected: exit code %d\n", out.Code)
	}
	return out.Stdout, nil
}

// until waits for a silent command to exit with 0: what was just granted takes a moment to be known everywhere.
func (s *stage) until(p person, args ...string) error {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	var last string
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		out, err := s.i.CP.Kubectl(ctx, p.kubeconfig, args...)
		last = out.Stdout + out.Stderr
		return out.Code == 0, err
	})
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, last)
	}
	return nil
}

// audit prints the audit log's lines of a person's writes to service accounts, dry runs left out.
func (s *stage) audit(p person) error {
	s.steps++
	by := func(e *auditv1.Event, verbs ...string) bool {
		return e.User.Username == p.name && e.Stage == auditv1.StageResponseComplete && e.ObjectRef != nil &&
			e.ObjectRef.Resource == "serviceaccounts" && slices.Contains(verbs, e.Verb)
	}
	// The log is written in batches and in order: a last request that arrives there comes after all others.
	if err := s.until(p, "get", "serviceaccounts", "-n", namespace); err != nil {
		return err
	}
	if _, err := s.i.CP.WaitAudit(s.ctx, func(e *auditv1.Event) bool { return by(e, "list") }); err != nil {
		return err
	}
	events, err := s.i.CP.AuditEvents(func(e *auditv1.Event) bool {
		return by(e, "create", "update", "patch", "delete") && !strings.Contains(e.RequestURI, "dryRun=")
	})
	if err != nil {
		return err
	}
	for i := range events {
		e := &events[i]
		fmt.Printf("\n%s %s %s/%s -> %d\n", e.User.Username, e.Verb, e.ObjectRef.Namespace, e.ObjectRef.Name, e.ResponseStatus.Code)
		lines := ours(e)
		if len(lines) == 0 {
			lines = []string{"    (leaves labels alone: never sent to the webhook)"}
		}
		fmt.Println(strings.Join(lines, "\n"))
	}
	if len(events) == 0 {
		s.failed++
		fmt.Println("   ^ NOT as expected: no lines")
	}
	return nil
}

// ours are the annotations that the webhook left on an event.
func ours(e *auditv1.Event) []string {
	var lines []string
	for k, v := range e.Annotations {
		if name, ok := strings.CutPrefix(k, "serviceaccounts.validate.saguard.io/"); ok && name != audit.AnnotationSchema {
			lines = append(lines, fmt.Sprintf("    %-10s %s", name, v))
		}
	}
	slices.Sort(lines)
	return lines
}

// shell quotes what a shell would take apart, so that the line can be pasted.
func shell(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.ContainsAny(a, "{}*\\\"' ") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}
