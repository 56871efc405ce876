package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// AssetsEnv names the environment variable that holds a folder with ready-made
// programs. It is the one envtest of controller-runtime reads.
const AssetsEnv = "KUBEBUILDER_ASSETS"

// Paths are the absolute paths of the programs a control plane is made of.
type Paths struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Kubectl           string
	// Scheduler, Kubelet and KubeProxy are empty unless the paths come from
	// [NodeBinaries].
	Scheduler string
	Kubelet   string
	KubeProxy string
}

// MissingAssetsError says which programs a KUBEBUILDER_ASSETS folder lacks.
type MissingAssetsError struct {
	Dir     string
	Missing []string // names, in the order of the programs list
}

func (e *MissingAssetsError) Error() string {
	return fmt.Sprintf("%s=%s lacks %s: add them (setup-envtest does not ship kube-controller-manager) or unset %s to have all of them built from source",
		AssetsEnv, e.Dir, strings.Join(e.Missing, ", "), AssetsEnv)
}

// target is one program: its file name, and the module and the package in it
// that it is built from.
type target struct{ name, module, pkg string }

func (t target) importPath() string { return path.Join(t.module, t.pkg) }

// programs lists what is built, the slowest first.
func programs() []target {
	return []target{
		{name: "kube-apiserver", module: kubernetesModule, pkg: "cmd/kube-apiserver"},
		{name: "kube-controller-manager", module: kubernetesModule, pkg: "cmd/kube-controller-manager"},
		{name: "kubectl", module: kubernetesModule, pkg: "cmd/kubectl"},
		{name: "etcd", module: "go.etcd.io/etcd/server/v3"},
	}
}

// nodePrograms lists what real nodes need beside [programs].
func nodePrograms() []target {
	return []target{
		{name: "kubelet", module: kubernetesModule, pkg: "cmd/kubelet"},
		{name: "kube-proxy", module: kubernetesModule, pkg: "cmd/kube-proxy"},
		{name: "kube-scheduler", module: kubernetesModule, pkg: "cmd/kube-scheduler"},
	}
}

// Binaries returns the programs: those in the folder KUBEBUILDER_ASSETS names
// if it is set, otherwise those built from the binaries module, once, into the
// user's cache folder (os.UserCacheDir, then saguard/controlplane/KEY, about
// 310 MB). A cold build takes about ten minutes on two cores; log gets at least
// one line every 15 seconds while it runs and nothing when nothing is built.
// Concurrent callers, also in other processes, build once. A cancelled or
// killed build leaves finished programs in the cache and never a partial one.
func Binaries(ctx context.Context, log io.Writer) (Paths, error) {
	return binaries(ctx, log, programs())
}

// NodeBinaries is [Binaries] with the programs of real nodes, kube-scheduler
// among them: about 170 MB more in the same folder, and four minutes more of a
// cold build.
func NodeBinaries(ctx context.Context, log io.Writer) (Paths, error) {
	return binaries(ctx, log, append(programs(), nodePrograms()...))
}

func binaries(ctx context.Context, log io.Writer, targets []target) (Paths, error) {
	if dir := os.Getenv(AssetsEnv); dir != "" {
		return assets(dir, targets)
	}
	src, err := findSource(ctx, "go")
	if err != nil {
		return Paths{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Paths{}, fmt.Errorf("find a cache folder for the control-plane binaries (set XDG_CACHE_HOME or %s): %w", AssetsEnv, err)
	}
	b := &builder{
		goTool:  "go",
		source:  src,
		targets: targets,
		cache:   filepath.Join(cache, "saguard", "controlplane"),
		log:     log,
		every:   15 * time.Second,
	}
	dir, err := b.build(ctx)
	if err != nil {
		return Paths{}, err
	}
	return pathsIn(dir, targets), nil
}

func assets(dir string, targets []target) (Paths, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Paths{}, fmt.Errorf("resolve %s: %w", AssetsEnv, err)
	}
	if missing := missingIn(abs, targets); len(missing) > 0 {
		names := make([]string, len(missing))
		for i, t := range missing {
			names[i] = t.name
		}
		return Paths{}, &MissingAssetsError{Dir: dir, Missing: names}
	}
	return pathsIn(abs, targets), nil
}

// missingIn returns the targets that are not executable files in dir.
func missingIn(dir string, targets []target) []target {
	var missing []target
	for _, t := range targets {
		info, err := os.Stat(filepath.Join(dir, t.name))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			missing = append(missing, t)
		}
	}
	return missing
}

// pathsIn names the programs of the targets in dir and leaves the others empty.
func pathsIn(dir string, targets []target) Paths {
	var p Paths
	fields := map[string]*string{
		"etcd":                    &p.Etcd,
		"kube-apiserver":          &p.APIServer,
		"kube-controller-manager": &p.ControllerManager,
		"kubectl":                 &p.Kubectl,
		"kube-scheduler":          &p.Scheduler,
		"kubelet":                 &p.Kubelet,
		"kube-proxy":              &p.KubeProxy,
	}
	for _, t := range targets {
		*fields[t.name] = filepath.Join(dir, t.name)
	}
	return p
}
