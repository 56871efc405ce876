package release

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// image reads the layout as a registry client does, which checks every digest and size, and compares what it holds.
func (v *verifier) image(p Program) (err error) {
	dir, err := os.MkdirTemp("", "saguard-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := unpack(bytes.NewReader(v.files[p.layout(v.source)]), dir); err != nil {
		return err
	}
	index, digest, err := openLayout(dir, v.source.Number())
	if err != nil {
		return err
	}
	if want := v.summary.Images[p.Name].Digest; digest != want {
		return fmt.Errorf("it holds %s, but %s says %s", digest, summaryFile, want)
	}
	if err := validate.Index(index); err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 2*len(p.Targets) {
		return fmt.Errorf("it holds %d manifests, want an image and a bill of materials for each of %s", len(manifest.Manifests), p.Targets)
	}
	for i, t := range p.Targets {
		described, bom := manifest.Manifests[i], manifest.Manifests[len(p.Targets)+i]
		if described.Platform == nil || described.Platform.OS != t.OS || described.Platform.Architecture != t.Arch {
			return fmt.Errorf("manifest %d is for %v, want %s", i, described.Platform, t)
		}
		if err := v.platform(p, t, index, described, bom); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// openLayout returns the one index of a layout, whose name has to be the tag, and its digest.
func openLayout(dir, tag string) (v1.ImageIndex, string, error) {
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, "", err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, "", err
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations[keyRefName] != tag {
		return nil, "", fmt.Errorf("index.json: want one image named %s", tag)
	}
	digest := manifest.Manifests[0].Digest
	index, err := outer.ImageIndex(digest)
	return index, digest.String(), err
}

func (v *verifier) platform(p Program, t Target, index v1.ImageIndex, described, bom v1.Descriptor) error {
	image, err := index.Image(described.Digest)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if c := config.Config; c.User != User || !slices.Equal(c.Entrypoint, []string{"/" + p.Name}) || config.Architecture != t.Arch || config.OS != t.OS {
		return fmt.Errorf("the configuration says user %q, entrypoint %q, platform %s/%s", c.User, c.Entrypoint, config.OS, config.Architecture)
	}
	files, err := contentOf(image)
	if err != nil {
		return err
	}
	var names []string
	for _, file := range files {
		names = append(names, file.name)
		if file.name == p.Name && !bytes.Equal(file.data, v.binaries[p.archive(v.source, t)]) {
			return errors.New("its program is not the archive's")
		}
	}
	slices.Sort(names)
	if want := []string{"etc/group", "etc/passwd", caFile, p.Name}; !slices.Equal(names, want) {
		return fmt.Errorf("it holds %q, want %q", names, want)
	}
	return v.attached(p, t, index, described, bom)
}

func (v *verifier) attached(p Program, t Target, index v1.ImageIndex, described, bom v1.Descriptor) error {
	artefact, err := index.Image(bom.Digest)
	if err != nil {
		return err
	}
	manifest, err := artefact.Manifest()
	if err != nil {
		return err
	}
	if manifest.Subject == nil || manifest.Subject.Digest != described.Digest || bom.ArtifactType != string(mediaTypeSBOM) {
		return errors.New("its bill of materials refers to something else")
	}
	layers, err := artefact.Layers()
	if err != nil || len(layers) != 1 {
		return errors.Join(err, fmt.Errorf("its bill of materials has %d layers", len(layers)))
	}
	blob, err := layers[0].Compressed()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(blob)
	if err := errors.Join(err, blob.Close()); err != nil {
		return err
	}
	if !bytes.Equal(data, v.files[p.sbom(v.source, t)]) {
		return fmt.Errorf("its bill of materials is not %s", p.sbom(v.source, t))
	}
	return nil
}

// contentOf is what a container of the image sees.
func contentOf(image v1.Image) (files []packed, err error) {
	merged := mutate.Extract(image)
	defer func() { err = errors.Join(err, merged.Close()) }()
	files, err = untar(merged)
	for i := range files {
		files[i].name = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(files[i].name)), "/")
	}
	return files, err
}
