package install

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// errNoSource says that the repository around this package was not found.
var errNoSource = errors.New("the source of package install is not on this machine")

// Root returns the repository's folder.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errNoSource
	}
	return filepath.Join(filepath.Dir(file), "..", ".."), nil
}

// build compiles a command of one of the repository's modules.
func build(ctx context.Context, module, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-trimpath", "-o", out, pkg)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
