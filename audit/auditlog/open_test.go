package auditlog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/saguard/saguard/audit/auditlog"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func zstandard(t *testing.T, text string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(text), nil))
}

func TestOpenKnowsCompressionByContent(t *testing.T) {
	log := event() + "\n"
	for name, content := range map[string]string{"plain": log, "gzip": gzipped(t, log), "gzip in two parts": gzipped(t, log[:50]) + gzipped(t, log[50:]), "zstd": zstandard(t, log), "empty": ""} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "audit.log")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, given := range []string{file, auditlog.Stdin} {
				l, err := auditlog.Open(given, strings.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(l)
				if want := log; err != nil || content != "" && string(got) != want {
					t.Errorf("got %q, %v", got, err)
				}
				if l.Offset() != int64(len(content)) {
					t.Errorf("offset %d, want %d", l.Offset(), len(content))
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := auditlog.Open(filepath.Join(t.TempDir(), "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestRotatedFilesAreReadInTheOrderOfTheirEvents(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	now := write("audit.log", event("time", `"2026-11-22T12:00:00.000000Z"`)+"\n")
	first := write("audit-2.log.gz", gzipped(t, "cut off garbage\n"+event("time", `"2026-11-22T10:00:00.000000Z"`)+"\n"))
	second := write("audit-1.log", event("time", `"2026-11-22T11:00:00.000000Z"`)+"\n")
	empty := write("empty.log", "")
	got, err := auditlog.InOrder(t.Context(), []string{now, empty, first, auditlog.Stdin, second})
	if want := []string{first, second, now, empty, auditlog.Stdin}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestFollowReadsOnAndOverARotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(f *os.File, text string) {
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write(f, event("auditID", `"1"`)+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := auditlog.Follow(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var got []string
	err = auditlog.NewReader(auditlog.Guarded()).Read(t.Context(), file, l, func(e *auditlog.Entry) error {
		got = append(got, string(e.Event.AuditID))
		switch len(got) {
		case 1:
			text := event("auditID", `"2"`)
			write(f, text[:100])
			write(f, text[100:]+"\n")
		case 2:
			if err := os.Rename(file, file+".1"); err != nil {
				return err
			}
			write(f, event("auditID", `"3"`)+"\n") // after the rename the API server still has the old file open
			next, err := os.Create(file)
			if err != nil {
				return err
			}
			write(next, event("auditID", `"4"`)+"\n")
			return next.Close()
		case 4:
			cancel()
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("got %v, %v", got, err)
	}
}
