// Command render prints the manifests of a chart as `helm template` would, for callers that cannot import Helm.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/strvals"

	"github.com/saguard/saguard/e2e/chart"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run(args []string, out, messages io.Writer) error {
	flags := flag.NewFlagSet("render", flag.ContinueOnError)
	flags.SetOutput(messages)
	dir := flags.String("chart", "charts/saguard", "directory of the chart")
	var o chart.Options
	flags.StringVar(&o.Release, "release", "saguard", "name of the release")
	flags.StringVar(&o.Namespace, "namespace", "saguard-system", "namespace of the release")
	flags.StringVar(&o.KubeVersion, "kube-version", chart.LowestKubeVersion, "Kubernetes version of the cluster")
	notes := flags.Bool("notes", false, "also print the notes, on standard error")
	flags.BoolVar(&o.Uninstall, "uninstall", false, "print the manifests in the order in which Helm deletes them, without those that it keeps")
	hooks := flags.Bool("hooks", false, "print the hooks that a Helm client runs, instead of the manifests")

	values := map[string]any{}
	flags.Func("f", "YAML file of values; repeatable, later ones win", func(name string) error {
		more, err := chartutil.ReadValuesFile(name)
		if err == nil {
			values = chartutil.CoalesceTables(more, values)
		}
		return err
	})
	flags.Func("set", "value as path=value; repeatable", func(text string) error { return strvals.ParseInto(text, values) })
	flags.Func("set-file", "value as path=file, the file's text; repeatable", func(text string) error {
		return strvals.ParseIntoFile(text, values, func(name []rune) (any, error) {
			data, err := os.ReadFile(string(name))
			return string(data), err
		})
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", strings.Join(flags.Args(), " "))
	}

	o.Live = *hooks
	rendered, err := chart.Render(*dir, values, o)
	if err != nil {
		return err
	}
	text, err := rendered.YAML()
	if *hooks {
		text, err = rendered.HooksYAML()
	}
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	if *notes {
		if _, err := fmt.Fprintln(messages, rendered.Notes); err != nil {
			return fmt.Errorf("write notes: %w", err)
		}
	}
	return nil
}
