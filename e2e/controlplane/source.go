package controlplane

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// modulePath is the module this package is part of; ../binaries is a module of
// its own because it needs other versions of k8s.io than this one.
const modulePath = "github.com/saguard/saguard/e2e"

// ModuleEnv names the environment variable with the folder, relative to this
// package's module, of the go.mod that the programs are built from; empty is
// "binaries". The folders in "skew" have no programs of nodes.
const ModuleEnv = "SAGUARD_CONTROLPLANE"

// binariesFolder is where the programs are pinned.
func binariesFolder() string { return cmp.Or(os.Getenv(ModuleEnv), "binaries") }

// kubernetesModule is the module whose version is the control plane's.
const kubernetesModule = "k8s.io/kubernetes"

// source is the binaries module as found on disk.
type source struct {
	dir       string            // absolute
	versions  map[string]string // of the modules go.mod requires
	goVersion string            // of the go command that will build, for example "go1.26.8"
	sums      []byte            // go.mod and go.sum
}

// findSource locates the binaries module next to this package's own source, so
// that it works from a clone in any folder and whatever the current folder is.
// Binaries built with -trimpath do not know their source folder; for those the
// go command is asked.
func findSource(ctx context.Context, goTool string) (source, error) {
	root := ""
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		root = filepath.Dir(filepath.Dir(file))
	}
	if _, err := os.Stat(filepath.Join(root, binariesFolder(), "go.mod")); root == "" || err != nil {
		out, err := goOutput(ctx, goTool, "", "list", "-m", "-f", "{{.Dir}}", modulePath)
		if err != nil {
			return source{}, fmt.Errorf("find the folder of module %s (run this inside its repository): %w", modulePath, err)
		}
		root = out
	}
	return readSource(ctx, goTool, filepath.Join(root, binariesFolder()))
}

func readSource(ctx context.Context, goTool, dir string) (source, error) {
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return source{}, fmt.Errorf("read the module of the control-plane binaries: %w", err)
	}
	goSum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return source{}, fmt.Errorf("read the module of the control-plane binaries: %w", err)
	}
	versions, err := requiredVersions(goMod)
	if err != nil {
		return source{}, fmt.Errorf("parse the module of the control-plane binaries: %w", err)
	}
	goVersion, err := goOutput(ctx, goTool, dir, "env", "GOVERSION")
	if err != nil {
		return source{}, fmt.Errorf("ask the go command for its version: %w", err)
	}
	return source{dir: dir, versions: versions, goVersion: goVersion, sums: append(goMod, goSum...)}, nil
}

func requiredVersions(goMod []byte) (map[string]string, error) {
	file, err := modfile.Parse("go.mod", goMod, nil)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string, len(file.Require))
	for _, req := range file.Require {
		versions[req.Mod.Path] = req.Mod.Version
	}
	if !semver.IsValid(versions[kubernetesModule]) {
		return nil, fmt.Errorf("no requirement on %s", kubernetesModule)
	}
	return versions, nil
}

// version is the control plane's, for example "v1.36.3".
func (s source) version() string { return s.versions[kubernetesModule] }

// ldflags stamps the version into the programs; without it the API server calls
// itself v0.0.0-master and version-gated behaviour differs.
func (s source) ldflags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(semver.MajorMinor(s.version()), "v"), ".")
	flags := []string{"-s", "-w"}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X", pkg+".gitVersion="+s.version(),
			"-X", pkg+".gitMajor="+major,
			"-X", pkg+".gitMinor="+minor)
	}
	return strings.Join(flags, " ")
}

// key names the cache folder: everything the programs are made of is in it, so
// a folder with this name never needs rebuilding.
func (s source) key() string {
	h := sha256.New()
	h.Write(s.sums)
	fmt.Fprintf(h, "\n%s\n%s\n%s/%s\n", s.ldflags(), s.goVersion, runtime.GOOS, runtime.GOARCH)
	return s.version() + "-" + hex.EncodeToString(h.Sum(nil))[:16]
}

func goOutput(ctx context.Context, goTool, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, goTool, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", goTool, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}
