package reference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/cli"
)

// cliPage describes the commands of kubectl saguard from their own tree.
func cliPage(context.Context, string) (string, error) {
	root := cli.NewCommand(cli.Options{Streams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, Version: "dev"})
	var b strings.Builder
	long := root.Long
	if _, rest, ok := strings.Cut(long, "\n\n"); ok {
		long = rest
	}
	fmt.Fprintf(&b, "%s\n\nEvery command also takes the flags of kubectl that choose a cluster and a user (`--kubeconfig`, `--context`, `-n`, `--as` and so on).\n\n", escape(long))
	fmt.Fprint(&b, "| command | |\n|---|---|\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.Name(), c.Name(), cell(c.Short))
		}
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			describeCommand(&b, c)
		}
	}
	return b.String(), nil
}

func describeCommand(b *strings.Builder, c *cobra.Command) {
	c.InitDefaultHelpFlag()
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.Name(), escape(text(c)), c.UseLine())
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindent(c.Example))
	}
	if flags := strings.TrimRight(c.LocalNonPersistentFlags().FlagUsages(), "\n"); flags != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", unpath(flags))
	}
}

func text(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

// escape keeps angle brackets from being taken for HTML.
func escape(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "<", "&lt;") }

func unindent(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}

// unpath takes the home folder of whoever runs this out of defaults.
func unpath(s string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" {
		return s
	}
	return strings.ReplaceAll(s, home, "$HOME")
}

// webhookFlags builds the webhook and asks it for its flags.
func webhookFlags(ctx context.Context, root string) (string, error) {
	var b strings.Builder
	err := ask(ctx, root, "saguard-webhook", func(help func(...string) (string, error)) error {
		for _, command := range []struct{ name, about string }{
			{"", "Serves. The chart sets these from its values; `webhook.extraArgs` adds others."},
			{"verify", "Proves by dry run that the API server asks the webhook; `helm test` runs it."},
			{"unregister", "Deletes the webhook configurations; `helm uninstall` runs it before the webhook goes."},
		} {
			var words []string
			if command.name != "" {
				words = []string{command.name}
				fmt.Fprintf(&b, "\n## %s\n\n", command.name)
			}
			text, err := help(words...)
			if err != nil {
				return err
			}
			_, flags, ok := strings.Cut(text, "\n")
			if !ok {
				return fmt.Errorf("help of saguard-webhook %s is %q", command.name, text)
			}
			fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n", command.about, strings.TrimRight(flags, "\n"))
		}
		return nil
	})
	return b.String(), err
}

// agentFlags builds the agent and asks it for its commands and flags.
func agentFlags(ctx context.Context, root string) (string, error) {
	var b strings.Builder
	b.WriteString("The chart runs `saguard-agent run` with flags from its values; `agent.extraArgs` adds others. The other commands are for somebody on the node, by `kubectl exec`.\n")
	err := ask(ctx, root, "saguard-agent", func(help func(...string) (string, error)) error {
		for _, command := range []string{"run", "status", "explain", "cleanup"} {
			text, err := help(command)
			if err != nil {
				return err
			}
			about, rest, ok := strings.Cut(text, "\n\nUsage:\n")
			usage, flags, more := strings.Cut(rest, "\n\nFlags:\n")
			if !ok || !more {
				return fmt.Errorf("help of saguard-agent %s is %q", command, text)
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n```\n%s\n```\n\n```\n%s\n```\n", command, escape(about), strings.TrimSpace(usage), strings.TrimRight(flags, "\n"))
		}
		return nil
	})
	return b.String(), err
}

// ask builds a program of the product and lets f have the help of its commands. The program's environment is empty, since it gives
// flags defaults.
func ask(ctx context.Context, root, program string, f func(help func(command ...string) (string, error)) error) (err error) {
	dir, err := os.MkdirTemp("", "saguard-reference-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin := filepath.Join(dir, program)
	build := exec.CommandContext(ctx, "go", "build", "-C", root, "-trimpath", "-o", bin, "./cmd/"+program)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", program, err, out)
	}
	return f(func(command ...string) (string, error) {
		var out bytes.Buffer
		c := exec.CommandContext(ctx, bin, append(command, "--help")...)
		c.Env, c.Stdout, c.Stderr = []string{"PATH=/usr/bin:/bin"}, &out, &out
		if err := c.Run(); err != nil {
			return "", fmt.Errorf("run %s %s: %w: %s", program, strings.Join(command, " "), err, out.String())
		}
		return out.String(), nil
	})
}
