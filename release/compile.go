package release

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compile builds the programs that exist for a platform into dir, statically. The Go version is that of the go command found, and
// stands in every binary and bill of materials.
func compile(ctx context.Context, s Source, programs []Program, t Target, dir string) error {
	args := []string{
		"build", "-C", s.Dir, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + s.Version,
		"-o", dir + string(filepath.Separator),
	}
	for _, p := range programs {
		args = append(args, "./cmd/"+p.Name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = environment(os.Environ(), t)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile for %s: %w\n%s", t, err, text)
	}
	return nil
}

// environment is env without what changes the bytes of a binary, all of which is said here instead.
func environment(env []string, t Target) []string {
	fixed := []string{
		"CGO_ENABLED=0", "GOOS=" + t.OS, "GOARCH=" + t.Arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=",
	}
	var out []string
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		known := false
		for _, f := range fixed {
			known = known || strings.HasPrefix(f, name+"=")
		}
		if !known {
			out = append(out, variable)
		}
	}
	return append(out, fixed...)
}
