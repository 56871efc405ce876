package node

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tools puts shell scripts in front of the PATH and gives the test a cache folder of its own.
func tools(t *testing.T, scripts map[string]string) (cache string) {
	t.Helper()
	bin, cache := t.TempDir(), t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", cache)
	return filepath.Join(cache, "saguard", "node")
}

const (
	offers   = `shift; for p; do echo "$p:"; echo "  Installed: (none)"; echo "  Candidate: 1:2.3~x"; echo "  Version table:"; done` + "\n"
	nothing  = `echo "N: Unable to locate package" >&2` + "\n"
	refuses  = "echo 'no network' >&2; exit 100\n"
	download = `case "$1" in
update) exit 0;;
download) shift 2; for p; do echo "$p" >"${p}_2.3_amd64.deb"; done;;
esac
`
	unpacks = `mkdir -p "$3/usr/bin" && cp "$2" "$3/usr/bin/"` + "\n"
)

func TestPackagesThatCannotBeHadAreNamed(t *testing.T) {
	for name, scripts := range map[string]map[string]string{
		"no lists and no network":    {"apt-cache": nothing, "apt-get": refuses},
		"lists, but no network":      {"apt-cache": offers, "apt-get": refuses},
		"archives that do not open":  {"apt-cache": offers, "apt-get": download, "dpkg-deb": refuses},
		"a download that is partial": {"apt-cache": offers, "apt-get": `case "$1" in download) echo >one.deb;; esac` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := tools(t, scripts)
			dir, err := Packages(t.Context(), io.Discard)
			var missing *PackagesError
			if dir != "" || !errors.As(err, &missing) {
				t.Fatalf("Packages: %q, %v; want a PackagesError", dir, err)
			}
			for _, pkg := range []string{"containerd", "runc", "containernetworking-plugins", "busybox-static"} {
				if !strings.Contains(err.Error(), pkg) {
					t.Errorf("%q does not name %s", err, pkg)
				}
			}
			if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
		})
	}
}

func TestPackagesAreFetchedOncePerVersion(t *testing.T) {
	cache := tools(t, map[string]string{"apt-cache": offers, "apt-get": download, "dpkg-deb": unpacks})
	var log strings.Builder
	dir, err := Packages(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(dir) != cache || !strings.HasPrefix(filepath.Base(dir), "containerd-1-2.3-x-") {
		t.Errorf("folder %s, want one in %s with the version in its name", dir, cache)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "usr/bin/*.deb")); err != nil || len(found) != len(debianPackages()) {
		t.Errorf("unpacked: %q, %v; want all packages", found, err)
	}
	if !strings.Contains(log.String(), "containerd") {
		t.Errorf("log %q does not say what is fetched", log.String())
	}
	log.Reset()
	if again, err := Packages(t.Context(), &log); err != nil || again != dir || log.Len() > 0 {
		t.Errorf("Packages again: %q, %v, log %q; want the same folder, silently", again, err, log.String())
	}
	t.Run("and what was fetched serves without network", func(t *testing.T) {
		bin := t.TempDir()
		for _, program := range []string{"apt-get", "apt-cache"} {
			if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+refuses), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		if got, err := Packages(t.Context(), io.Discard); err != nil || got != dir {
			t.Errorf("Packages: %q, %v; want %q", got, err, dir)
		}
	})
}
