package release

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// product is the folder of the product's go.mod.
const product = ".."

func source(dir string) Source {
	return Source{
		Dir: dir, Version: "v0.1.0", Commit: strings.Repeat("0123456789", 4), Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
}

// standIn fills a folder with a module with commands of the product's names that do nothing, which compile for every platform in
// seconds, beside the product's own chart and license.
func standIn(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "product")
	write(t, filepath.Join(dir, "go.mod"), []byte("module example.com/standin\n\ngo 1.26.0\n"))
	for _, p := range Programs() {
		write(t, filepath.Join(dir, "cmd", p.Name, "main.go"), []byte("package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n"))
	}
	write(t, filepath.Join(dir, licenseFile), read(t, filepath.Join(product, licenseFile)))
	if err := os.CopyFS(filepath.Join(dir, "charts"), os.DirFS(filepath.Join(product, "charts"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copied is a folder with the same content somewhere else.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
