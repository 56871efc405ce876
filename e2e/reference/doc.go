// Package reference writes the pages of docs/reference from the code: what checks, custom resources, metrics, records and programs
// say of themselves. The programs are built and asked for their help, the metrics are registered by their own constructors, and the
// examples of checks are answers of the webhook's own code.
package reference

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Dir is the folder of the pages, below the repository's root.
const Dir = "docs/reference"

// Refresh is the command that writes the pages anew.
const Refresh = "go -C e2e run ./cmd/reference"

// Pages returns every page by its file name. root is the repository's root.
func Pages(ctx context.Context, root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	var errs []error
	for _, p := range []struct {
		name, title string
		body        func(context.Context, string) (string, error)
	}{
		{"checks.md", "Checks", checks},
		{"crds.md", "Custom resources", crds},
		{"metrics.md", "Metrics", metricsPage},
		{"records.md", "Decision records", records},
		{"cli.md", "kubectl saguard", cliPage},
		{"webhook.md", "saguard-webhook", webhookFlags},
		{"agent.md", "saguard-agent", agentFlags},
	} {
		body, err := p.body(ctx, root)
		if err != nil {
			errs = append(errs, fmt.Errorf("write page %s: %w", p.name, err))
			continue
		}
		out[p.name] = fmt.Appendf(nil, "<!-- Generated from the code; %s writes it anew. -->\n\n# %s\n\n%s", Refresh, p.title, body)
	}
	return out, errors.Join(errs...)
}

// Write makes the pages the content of the folder: what is not among them is removed.
func Write(root string, pages map[string][]byte) error {
	dir := filepath.Join(root, filepath.FromSlash(Dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	stale, err := Compare(root, pages)
	if err != nil {
		return err
	}
	for _, name := range stale {
		path := filepath.Join(dir, name)
		page, ok := pages[name]
		if !ok {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove page: %w", err)
			}
			continue
		}
		if err := os.WriteFile(path, page, 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	return nil
}

// Compare returns the names of the files that differ from the pages, that are missing and that should not be there, sorted.
func Compare(root string, pages map[string][]byte) ([]string, error) {
	dir := filepath.Join(root, filepath.FromSlash(Dir))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	var stale []string
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read page: %w", err)
		}
		if page, ok := pages[e.Name()]; !ok || string(page) != string(text) {
			stale = append(stale, e.Name())
		}
	}
	for name := range pages {
		if !there[name] {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale, nil
}
