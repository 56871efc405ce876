package install

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// buildProduct compiles one of the product's commands as releases do, without C: what is tested is what is shipped, and the tests of
// releases find it compiled.
func buildProduct(ctx context.Context, root, pkg, out string) error {
	return build(ctx, root, pkg, out, "CGO_ENABLED=0")
}

// build compiles a command of one of the repository's modules.
func build(ctx context.Context, module, pkg, out string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-trimpath", "-o", out, pkg)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
