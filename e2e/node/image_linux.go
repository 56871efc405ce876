package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is a container image of files of this machine, without a base: static
// programs, as in an image from scratch.
type Image struct {
	// Ref names it, with a registry host and a tag, for example "example.test/web:1".
	Ref string
	// Files of this machine by their absolute path in the image. All are readable
	// and executable by everybody.
	Files map[string]string
	// Links are symbolic links by their absolute path in the image.
	Links      map[string]string
	Entrypoint []string
	// User is "UID:GID"; empty is root.
	User string
}

// imageConfig is the part of an image configuration that runtimes read
// (github.com/opencontainers/image-spec, config.md).
type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		User       string   `json:"User,omitempty"`
		Env        []string `json:"Env"`
		Entrypoint []string `json:"Entrypoint"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// archiveManifest is manifest.json of `docker save`.
type archiveManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// write makes an archive as `docker save` does, which ctr imports.
func (i Image) write(file string) error {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("make image %s: %w", i.Ref, err)
	}
	var config imageConfig
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	config.Config.User, config.Config.Entrypoint = i.User, i.Entrypoint
	config.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/"}
	config.RootFS.Type, config.RootFS.DiffIDs = "layers", []string{"sha256:" + digest(layer)}
	configText, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("make image %s: %w", i.Ref, err)
	}
	configName := digest(configText) + ".json"
	manifest, err := json.Marshal([]archiveManifest{{Config: configName, RepoTags: []string{i.Ref}, Layers: []string{"layer.tar"}}})
	if err != nil {
		return fmt.Errorf("make image %s: %w", i.Ref, err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		data []byte
	}{{"layer.tar", layer}, {configName, configText}, {"manifest.json", manifest}} {
		if err := addFile(w, f.name, f.data); err != nil {
			return fmt.Errorf("make image %s: %w", i.Ref, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("make image %s: %w", i.Ref, err)
	}
	if err := os.WriteFile(file, archive.Bytes(), 0o600); err != nil {
		return fmt.Errorf("make image %s: %w", i.Ref, err)
	}
	return nil
}

// layer is a tar of the files and the folders they are in.
func (i Image) layer() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	folders := map[string]bool{"/": true}
	for _, name := range slices.Sorted(keysOf(i.Files, i.Links)) {
		if !path.IsAbs(name) {
			return nil, fmt.Errorf("path %q is not absolute", name)
		}
		if err := addFolders(w, folders, path.Dir(name)); err != nil {
			return nil, err
		}
		if target, ok := i.Links[name]; ok {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(name, "/"), Linkname: target, Mode: 0o777}); err != nil {
				return nil, err
			}
			continue
		}
		data, err := os.ReadFile(i.Files[name])
		if err != nil {
			return nil, err
		}
		if err := addFile(w, strings.TrimPrefix(name, "/"), data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// keysOf yields the keys of both maps.
func keysOf(a, b map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, m := range []map[string]string{a, b} {
			for k := range m {
				if !yield(k) {
					return
				}
			}
		}
	}
}

func addFolders(w *tar.Writer, have map[string]bool, dir string) error {
	if have[dir] {
		return nil
	}
	if err := addFolders(w, have, path.Dir(dir)); err != nil {
		return err
	}
	have[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755})
}

func addFile(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// WorkloadImage is the image of every cluster that pods of tests run: e2e/cmd/workload
// as /workload, which is the entrypoint, and busybox with sh and some other names
// in /bin. It is also the sandboxes' pause.
const WorkloadImage = "saguard.test/workload:1"

func workloadImage(program, packages string) Image {
	i := Image{
		Ref:        WorkloadImage,
		Files:      map[string]string{"/workload": program, "/bin/busybox": filepath.Join(packages, "bin", "busybox")},
		Links:      map[string]string{},
		Entrypoint: []string{"/workload"},
	}
	for _, name := range []string{"sh", "cat", "ip", "ls", "nc", "ping", "sleep", "wget"} {
		i.Links["/bin/"+name] = "busybox"
	}
	return i
}
