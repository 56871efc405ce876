package chart

import (
	"os/exec"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// TestArgumentsAreFlagsOfTheWebhook asks the program itself: with --help last, it fails only at a flag or value before it
// that it does not know.
func TestArgumentsAreFlagsOfTheWebhook(t *testing.T) {
	run := parsing(t, "saguard-webhook")
	if run([]string{"--no-such-flag"}) == nil {
		t.Fatal("the program accepts any flag, so this test could not fail")
	}
	for name, values := range cases {
		container := one[*appsv1.Deployment](t, render(t, values)).Spec.Template.Spec.Containers[0]
		args := container.Args
		if err := run(args); err != nil {
			t.Errorf("%s: saguard-webhook refuses %q: %v", name, args, err)
		}
	}
}

// parsing builds a program and returns what has it read arguments and print its help: an error if it refuses them.
func parsing(t *testing.T, name string) func(args []string) error {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "-C", "../..", "build", "-o", program, "./cmd/"+name)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return func(args []string) error {
		return exec.CommandContext(t.Context(), program, append(args, "--help")...).Run()
	}
}
