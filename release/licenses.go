package release

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// licenseID is the product's license in SPDX's list; the file LICENSE holds its text.
const licenseID = "Apache-2.0"

// licenseNames begin the names of files that have to go with copies of a module.
func licenseNames() []string { return []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"} }

// licenseHeaders names, for modules that have no file of these names, one whose first comment is the license.
func licenseHeaders() map[string]string {
	return map[string]string{"github.com/openreports/reports-api": "apis/openreports.io/v1alpha1/clusterreport_types.go"}
}

// notices is one text with the licenses and notices of every module in a binary, from the module cache. A module without any
// is an error: nobody may pass on a copy of it.
func notices(ctx context.Context, s Source, info *debug.BuildInfo) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOROOT")
	cmd.Dir = s.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find module cache: %w", err)
	}
	cache, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	var text bytes.Buffer
	for _, m := range modules(info) {
		dir := root
		if m.Path != "std" {
			if dir, err = cached(cache, m); err != nil {
				return nil, err
			}
		}
		if err := appendLicenses(&text, dir, m); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

func cached(cache string, m debug.Module) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", m.Path, err)
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", m.Path, err)
	}
	return filepath.Join(cache, filepath.FromSlash(path)+"@"+version), nil
}

func appendLicenses(text *bytes.Buffer, dir string, m debug.Module) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return fmt.Errorf("read licenses of %s: %w", m.Path, err)
	}
	found := false
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if !entry.Type().IsRegular() || strings.HasSuffix(name, ".GO") ||
			!slices.ContainsFunc(licenseNames(), func(begin string) bool { return strings.HasPrefix(name, begin) }) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return fmt.Errorf("read licenses of %s: %w", m.Path, err)
		}
		found = true
		fmt.Fprintf(text, "==== %s %s: %s\n\n%s\n\n", m.Path, m.Version, entry.Name(), bytes.TrimSpace(content))
	}
	if header, ok := licenseHeaders()[m.Path]; ok && !found {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(header)))
		if err != nil {
			return fmt.Errorf("read licenses of %s: %w", m.Path, err)
		}
		comment, _, ok := bytes.Cut(bytes.TrimPrefix(content, []byte("/*")), []byte("*/"))
		found = ok && bytes.Contains(comment, []byte("Licensed under"))
		fmt.Fprintf(text, "==== %s %s: %s\n\n%s\n\n", m.Path, m.Version, header, bytes.TrimSpace(comment))
	}
	if !found {
		return fmt.Errorf("read licenses of %s %s: there is none in %s", m.Path, m.Version, dir)
	}
	return nil
}
