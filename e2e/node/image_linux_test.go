package node

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// untar returns the names in order, and the content of files.
func untar(t *testing.T, raw []byte) (names []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		content[h.Name] = string(data) + h.Linkname
	}
}

func TestImageIsAnArchiveOfItsFiles(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("static"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := Image{
		Ref: "example.test/web:1", Files: map[string]string{"/web": program, "/usr/bin/other": program}, Links: map[string]string{"/usr/bin/sh": "other"},
		Entrypoint: []string{"/web", "serve"}, User: "7:7",
	}
	archive := filepath.Join(dir, "web.tar")
	if err := image.write(archive); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	_, files := untar(t, raw)
	var manifest []archiveManifest
	if err := json.Unmarshal([]byte(files["manifest.json"]), &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json %q: %v", files["manifest.json"], err)
	}
	if m := manifest[0]; !slices.Equal(m.RepoTags, []string{"example.test/web:1"}) || !slices.Equal(m.Layers, []string{"layer.tar"}) {
		t.Errorf("manifest %+v", m)
	}
	var config imageConfig
	if err := json.Unmarshal([]byte(files[manifest[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	layer := []byte(files["layer.tar"])
	if got := config.RootFS.DiffIDs; !slices.Equal(got, []string{"sha256:" + digest(layer)}) {
		t.Errorf("diff IDs %q are not the layer's digest", got)
	}
	if c := config.Config; c.User != "7:7" || !slices.Equal(c.Entrypoint, []string{"/web", "serve"}) {
		t.Errorf("config %+v", c)
	}
	names, content := untar(t, layer)
	if want := []string{"usr/", "usr/bin/", "usr/bin/other", "usr/bin/sh", "web"}; !slices.Equal(names, want) {
		t.Errorf("layer has %q, want %q: folders before what is in them", names, want)
	}
	if content["web"] != "static" || content["usr/bin/sh"] != "other" {
		t.Errorf("content %q", content)
	}
}

func TestImageThatCannotBeMadeSaysWhichAndWhy(t *testing.T) {
	for name, tc := range map[string]struct{ path, from, want string }{
		"a file that is not there": {path: "/web", from: "/does/not/exist", want: "/does/not/exist"},
		"a relative path":          {path: "web", from: os.Args[0], want: "not absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "out.tar")
			err := Image{Ref: "example.test/broken:1", Files: map[string]string{tc.path: tc.from}}.write(file)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "example.test/broken:1") {
				t.Errorf("write: %v, want the image's name and %q", err, tc.want)
			}
			if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("an archive is left: %v", err)
			}
		})
	}
}
