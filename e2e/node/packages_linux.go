package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// debianPackages are unpacked, not installed.
func debianPackages() []string {
	return []string{"busybox-static", "containerd", "containernetworking-plugins", "runc"}
}

// PackagesError says that Debian packages which nodes need cannot be had.
type PackagesError struct {
	Names []string
	Err   error
}

func (e *PackagesError) Error() string {
	return fmt.Sprintf("get the Debian packages %s (no network? apt-get download them where there is one): %v", strings.Join(e.Names, ", "), e.Err)
}

func (e *PackagesError) Unwrap() error { return e.Err }

// Packages returns a folder with the unpacked packages, fetched once for each
// version that apt offers, into the user's cache folder. Where apt offers nothing,
// what an earlier call left there serves.
func Packages(ctx context.Context, log io.Writer) (dir string, err error) {
	parent, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder for Debian packages (set XDG_CACHE_HOME): %w", err)
	}
	parent = filepath.Join(parent, "saguard", "node")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make a cache folder for Debian packages: %w", err)
	}
	versions, err := candidates(ctx)
	if err != nil {
		// A fresh machine has no lists.
		if _, updateErr := output(ctx, "", "apt-get", "update", "-q"); updateErr != nil {
			err = errors.Join(err, updateErr)
		} else {
			versions, err = candidates(ctx)
		}
	}
	if err == nil {
		dir = filepath.Join(parent, key(versions))
		if _, statErr := os.Stat(dir); statErr == nil {
			return dir, nil
		}
		err = fetch(ctx, log, parent, dir)
	}
	if err == nil {
		return dir, nil
	}
	if earlier := newest(parent); earlier != "" && ctx.Err() == nil {
		return earlier, nil
	}
	return "", &PackagesError{Names: debianPackages(), Err: err}
}

var candidateLines = regexp.MustCompile(`(?m)^(\S+):\n  Installed: .*\n  Candidate: (\S+)$`)

// candidates are the versions apt would download, as NAME=VERSION in the order of
// debianPackages.
func candidates(ctx context.Context) ([]string, error) {
	// One call: each reads all lists.
	text, err := output(ctx, "", "apt-cache", append([]string{"policy"}, debianPackages()...)...)
	if err != nil {
		return nil, err
	}
	offered := map[string]string{}
	for _, match := range candidateLines.FindAllStringSubmatch(text, -1) {
		offered[match[1]] = match[2]
	}
	var versions []string
	for _, name := range debianPackages() {
		if v := offered[name]; v == "" || v == "(none)" {
			return nil, fmt.Errorf("apt knows no package %s", name)
		}
		versions = append(versions, name+"="+offered[name])
	}
	return versions, nil
}

// key is the name of a folder: readable by the first, exact by all.
func key(versions []string) string {
	sum := sha256.Sum256([]byte(strings.Join(versions, "\n")))
	i := slices.IndexFunc(versions, func(v string) bool { return strings.HasPrefix(v, "containerd=") })
	version := regexp.MustCompile(`[^A-Za-z0-9.]`).ReplaceAllString(strings.TrimPrefix(versions[i], "containerd="), "-")
	return "containerd-" + version + "-" + hex.EncodeToString(sum[:8])
}

// fetch unpacks beside dir and renames, so that no reader sees a part; of two
// writers one wins.
func fetch(ctx context.Context, log io.Writer, parent, dir string) (err error) {
	if _, err := fmt.Fprintf(log, "fetching the Debian packages %s; once, then cached in %s\n", strings.Join(debianPackages(), ", "), dir); err != nil {
		return err
	}
	staged, err := os.MkdirTemp(parent, ".partial-")
	if err != nil {
		return fmt.Errorf("unpack packages: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staged)) }()
	root := filepath.Join(staged, "root")
	if _, err := output(ctx, staged, "apt-get", append([]string{"download", "-q"}, debianPackages()...)...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(staged, "*.deb"))
	if err != nil || len(archives) != len(debianPackages()) {
		return fmt.Errorf("apt-get download left %q: %w", archives, orNone(err))
	}
	for _, archive := range archives {
		if _, err := output(ctx, staged, "dpkg-deb", "-x", archive, root); err != nil {
			return err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return fmt.Errorf("unpack packages: %w", err)
	}
	if err := os.Rename(root, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return nil
		}
		return fmt.Errorf("unpack packages: %w", err)
	}
	return nil
}

// newest is the folder unpacked last; "" if there is none.
func newest(parent string) string {
	dirs, err := filepath.Glob(filepath.Join(parent, "containerd-*"))
	if err != nil {
		return ""
	}
	best, at := "", time.Time{}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && info.ModTime().After(at) {
			best, at = dir, info.ModTime()
		}
	}
	return best
}

// output runs a program in dir and returns what it printed; its errors are in the
// error.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

func orNone(err error) error {
	if err == nil {
		return errNotAll
	}
	return err
}

var errNotAll = errors.New("not all that was asked for")
