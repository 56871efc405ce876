package controlplane

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestAssetsFolderThatLacksPrograms(t *testing.T) {
	for _, tc := range []struct {
		name    string
		have    map[string]os.FileMode
		missing []string
	}{
		{
			name:    "an empty folder",
			missing: []string{"kube-apiserver", "kube-controller-manager", "kubectl", "etcd"},
		},
		{
			name:    "what setup-envtest ships",
			have:    map[string]os.FileMode{"etcd": 0o755, "kube-apiserver": 0o755, "kubectl": 0o755},
			missing: []string{"kube-controller-manager"},
		},
		{
			name:    "a file that cannot be executed",
			have:    map[string]os.FileMode{"etcd": 0o644, "kube-apiserver": 0o755, "kubectl": 0o755, "kube-controller-manager": 0o755},
			missing: []string{"etcd"},
		},
		{
			name: "all",
			have: map[string]os.FileMode{"etcd": 0o755, "kube-apiserver": 0o755, "kubectl": 0o755, "kube-controller-manager": 0o755},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, mode := range tc.have {
				if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv(AssetsEnv, dir)
			paths, err := Binaries(t.Context(), nil)
			if len(tc.missing) == 0 {
				if want := pathsIn(dir, programs()); err != nil || paths != want {
					t.Errorf("Binaries: %+v, %v; want %+v", paths, err, want)
				}
				return
			}
			var missing *MissingAssetsError
			if !errors.As(err, &missing) || !slices.Equal(missing.Missing, tc.missing) {
				t.Fatalf("Binaries: %v, want a MissingAssetsError with %q", err, tc.missing)
			}
			for _, name := range append(tc.missing, AssetsEnv, dir) {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %s", err, name)
				}
			}
		})
	}
}

func TestAssetsFolderOfAControlPlaneLacksTheProgramsOfNodes(t *testing.T) {
	dir := t.TempDir()
	for _, target := range programs() {
		if err := os.WriteFile(filepath.Join(dir, target.name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(AssetsEnv, dir)
	if paths, err := Binaries(t.Context(), nil); err != nil || paths.Kubelet != "" {
		t.Errorf("Binaries: %+v, %v; want those of a control plane only", paths, err)
	}
	var missing *MissingAssetsError
	if _, err := NodeBinaries(t.Context(), nil); !errors.As(err, &missing) || !slices.Equal(missing.Missing, []string{"kubelet", "kube-proxy", "kube-scheduler"}) {
		t.Errorf("NodeBinaries: %v, want a MissingAssetsError with the programs of nodes", err)
	}
	for _, target := range nodePrograms() {
		if err := os.WriteFile(filepath.Join(dir, target.name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := NodeBinaries(t.Context(), nil)
	if err != nil || paths.Kubelet != filepath.Join(dir, "kubelet") || paths.KubeProxy == "" || paths.Scheduler == "" || paths.Etcd == "" {
		t.Errorf("NodeBinaries: %+v, %v; want all programs", paths, err)
	}
}

func TestRelativeAssetsFolderIsMadeAbsolute(t *testing.T) {
	dir := t.TempDir()
	for _, target := range programs() {
		if err := os.WriteFile(filepath.Join(dir, target.name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Dir(dir))
	t.Setenv(AssetsEnv, filepath.Base(dir))
	paths, err := Binaries(t.Context(), nil)
	if err != nil || !filepath.IsAbs(paths.Etcd) {
		t.Errorf("Binaries: %+v, %v; want absolute paths: components run in another folder", paths, err)
	}
}

func TestKeyChangesWithEverythingTheProgramsAreMadeOf(t *testing.T) {
	base := source{
		versions:  map[string]string{kubernetesModule: "v1.36.3"},
		goVersion: "go1.26.0",
		sums:      []byte("sums"),
	}
	if got, again := base.key(), base.key(); got != again || !strings.HasPrefix(got, "v1.36.3-") {
		t.Errorf("key: %s, then %s; want the same, beginning with the version", got, again)
	}
	for name, change := range map[string]func(*source){
		"another version of Kubernetes": func(s *source) { s.versions = map[string]string{kubernetesModule: "v1.36.4"} },
		"another version of Go":         func(s *source) { s.goVersion = "go1.26.1" },
		"another go.mod or go.sum":      func(s *source) { s.sums = []byte("other") },
	} {
		t.Run(name, func(t *testing.T) {
			changed := base
			change(&changed)
			if changed.key() == base.key() {
				t.Errorf("key %s stays the same", base.key())
			}
		})
	}
}

func TestSourceIsFound(t *testing.T) {
	src, err := findSource(t.Context(), "go")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("from any folder, unless the build trimmed the path away", func(t *testing.T) {
		_, file, _, _ := runtime.Caller(0)
		t.Chdir(t.TempDir())
		elsewhere, err := findSource(t.Context(), "go")
		switch {
		case filepath.IsAbs(file) && (err != nil || elsewhere.dir != src.dir):
			t.Errorf("found %q, %v; want %q", elsewhere.dir, err, src.dir)
		case !filepath.IsAbs(file) && (err == nil || !strings.Contains(err.Error(), "inside its repository")):
			t.Errorf("found %q, %v; want advice on where to run it", elsewhere.dir, err)
		}
	})
	if _, err := os.Stat(filepath.Join(src.dir, "go.sum")); err != nil {
		t.Error(err)
	}
	flags := src.ldflags()
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=" + src.version(),
		"-X k8s.io/client-go/pkg/version.gitMajor=1 ",
	} {
		if !strings.Contains(flags, want) {
			t.Errorf("ldflags %q lack %q", flags, want)
		}
	}
	for _, target := range append(programs(), nodePrograms()...) {
		if src.versions[target.module] == "" {
			t.Errorf("%s: the binaries module does not require %s", target.name, target.module)
		}
	}
}
