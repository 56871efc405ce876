package release

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// Export writes the files of a revision of the Git repository at repo into the empty folder dir and says what they are. What
// is not committed cannot get into a release this way. An empty version means the revision's tag that is a semantic version, or
// a PseudoVersion.
func Export(ctx context.Context, repo, revision, version, dir string) (Source, error) {
	commit, err := git(ctx, repo, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return Source{}, err
	}
	stamp, err := git(ctx, repo, "show", "-s", "--format=%ct", commit)
	if err != nil {
		return Source{}, err
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return Source{}, fmt.Errorf("read time of commit %s: %w", commit, err)
	}
	at := time.Unix(seconds, 0).UTC()
	if version == "" {
		if version, err = versionOf(ctx, repo, commit, at); err != nil {
			return Source{}, err
		}
	}
	cmd := exec.CommandContext(ctx, "git", "-C", repo, "archive", "--format=tar", commit)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Source{}, fmt.Errorf("read commit %s: %w", commit, err)
	}
	if err := cmd.Start(); err != nil {
		return Source{}, fmt.Errorf("read commit %s: %w", commit, err)
	}
	unpacked := unpack(out, dir)
	if unpacked != nil {
		// git waits for a reader that is gone.
		unpacked = errors.Join(unpacked, cmd.Process.Kill())
	}
	if err := cmd.Wait(); err != nil && unpacked == nil {
		return Source{}, fmt.Errorf("read commit %s: %w: %s", commit, err, strings.TrimSpace(messages.String()))
	}
	return Source{Dir: dir, Version: version, Commit: commit, Time: at}, unpacked
}

// versionOf is the highest tag of the commit that is a version, or one made up.
func versionOf(ctx context.Context, repo, commit string, at time.Time) (string, error) {
	tags, err := git(ctx, repo, "tag", "--points-at", commit)
	if err != nil {
		return "", err
	}
	best := ""
	for _, tag := range strings.Fields(tags) {
		if semver.Canonical(tag) == tag && semver.Compare(tag, best) > 0 {
			best = tag
		}
	}
	if best == "" {
		return PseudoVersion(commit, at), nil
	}
	return best, nil
}

func git(ctx context.Context, repo string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo}, args...)...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run git %s: %w: %s", args[0], err, strings.TrimSpace(messages.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// unpack writes the folders, files and links of a tar archive below dir, and nothing outside it.
func unpack(archive io.Reader, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if err := unpackOne(root, header, reader); err != nil {
			return fmt.Errorf("unpack %q: %w", header.Name, err)
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, content io.Reader) error {
	name := path.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil // git puts the commit there
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeReg:
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	default:
		return fmt.Errorf("type %q: want files, folders and links", header.Typeflag)
	}
}
