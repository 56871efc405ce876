package release

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository has two commits, the second tagged twice, and a file that is not committed.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-22T12:00:00+02:00", "GIT_AUTHOR_DATE=2020-01-01T00:00:00Z", "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run("init", "-q", "-b", "main")
	write(t, filepath.Join(dir, "a", "b.txt"), []byte("one"))
	run("add", ".")
	run("commit", "-q", "-m", "one")
	if err := os.Symlink("b.txt", filepath.Join(dir, "a", "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a", "b.txt"), []byte("two"))
	run("add", ".")
	run("commit", "-q", "-m", "two")
	for _, tag := range []string{"v1.2.3-rc.1", "v1.2.3", "v9", "nightly"} {
		run("tag", tag)
	}
	write(t, filepath.Join(dir, "a", "b.txt"), []byte("not committed"))
	write(t, filepath.Join(dir, "new"), []byte("not committed"))
	return dir
}

func TestExportTakesWhatIsCommitted(t *testing.T) {
	repo := repository(t)
	cases := map[string]struct{ revision, version, wantVersion, text string }{
		"the highest tag that is a version": {"HEAD", "", "v1.2.3", "two"},
		"by tag":                            {"nightly", "", "v1.2.3", "two"},
		"a version that is asked for":       {"HEAD", "v2.0.0", "v2.0.0", "two"},
		"a commit without tag":              {"HEAD~1", "", "v0.0.0-20261122100000-", "one"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Export(t.Context(), repo, tc.revision, tc.version, dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.check(); err != nil {
				t.Error(err)
			}
			if !strings.HasPrefix(s.Version, tc.wantVersion) || !s.Time.Equal(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)) {
				t.Errorf("%+v", s)
			}
			if got := string(read(t, filepath.Join(dir, "a", "b.txt"))); got != tc.text {
				t.Errorf("exported is %q", got)
			}
			if _, err := os.Lstat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
				t.Errorf("a file that is not committed: %v", err)
			}
			link, err := os.Readlink(filepath.Join(dir, "a", "link"))
			if tc.text == "two" && (err != nil || link != "b.txt") {
				t.Errorf("link %s, %v", link, err)
			}
		})
	}
	for _, revision := range []string{"nosuch", "--help", ""} {
		if _, err := Export(t.Context(), repo, revision, "", t.TempDir()); err == nil {
			t.Errorf("exported revision %q", revision)
		}
	}
	if _, err := Export(t.Context(), t.TempDir(), "HEAD", "", t.TempDir()); err == nil {
		t.Error("exported what is no repository")
	}
}

// An archive is unpacked into its folder and nowhere else.
func TestUnpackStaysInItsFolder(t *testing.T) {
	cases := map[string]struct {
		headers []tar.Header
		ok      bool
	}{
		"files and folders":        {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d/"}, {Typeflag: tar.TypeReg, Name: "d/f"}}, true},
		"a folder not mentioned":   {[]tar.Header{{Typeflag: tar.TypeReg, Name: "d/e/f"}}, true},
		"upwards":                  {[]tar.Header{{Typeflag: tar.TypeReg, Name: "../f"}}, false},
		"upwards inside":           {[]tar.Header{{Typeflag: tar.TypeReg, Name: "d/../../f"}}, false},
		"an absolute name":         {[]tar.Header{{Typeflag: tar.TypeReg, Name: "/f"}}, false},
		"through a link":           {[]tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, {Typeflag: tar.TypeReg, Name: "l/f"}}, false},
		"over a file":              {[]tar.Header{{Typeflag: tar.TypeReg, Name: "f"}, {Typeflag: tar.TypeReg, Name: "f"}}, false},
		"a device":                 {[]tar.Header{{Typeflag: tar.TypeChar, Name: "f"}}, false},
		"a link to another's file": {[]tar.Header{{Typeflag: tar.TypeLink, Name: "f", Linkname: "/etc/passwd"}}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			inner := filepath.Join(outer, "inner")
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			var archive bytes.Buffer
			writer := tar.NewWriter(&archive)
			for i := range tc.headers {
				tc.headers[i].Mode = 0o644
				if err := writer.WriteHeader(&tc.headers[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := writer.Close(); err != nil {
				t.Fatal(err)
			}
			if err := unpack(&archive, inner); (err == nil) != tc.ok {
				t.Errorf("unpack: %v", err)
			}
			entries, err := os.ReadDir(outer)
			if err != nil || len(entries) != 1 {
				t.Errorf("beside the folder is %v, %v", entries, err)
			}
		})
	}
}
