package release

import (
	"bytes"
	"embed"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootfs holds the files that every image has; the Dockerfile copies the same.
//
//go:embed rootfs
var rootfs embed.FS

// caFile is where Go programs look for the certificates of public authorities first (crypto/x509, root_linux.go).
const caFile = "etc/ssl/certs/ca-certificates.crt"

// mediaTypeSBOM is registered with IANA.
const mediaTypeSBOM types.MediaType = "application/vnd.cyclonedx+json"

// keyRefName names the image inside a layout (OCI image spec, annotations).
const keyRefName = "org.opencontainers.image.ref.name"

// imageOf is what goes into one image for one platform.
type imageOf struct {
	target       Target
	binary, sbom []byte
}

// labels are the image's, by the keys of the OCI image specification.
func labels(s Source, p Program, c chartFacts) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       p.Name,
		"org.opencontainers.image.description": p.Title,
		"org.opencontainers.image.version":     s.Number(),
		"org.opencontainers.image.revision":    s.Commit,
		"org.opencontainers.image.created":     s.time().Format(time.RFC3339),
		"org.opencontainers.image.source":      c.home,
		"org.opencontainers.image.url":         c.home,
		"org.opencontainers.image.licenses":    licenseID,
	}
}

// buildIndex makes the image for all platforms. Each platform's bill of materials is an artefact that refers to its image by `subject`; it
// is of platform unknown/unknown, which no runtime pulls, and goes wherever the image is copied to.
func buildIndex(s Source, p Program, c chartFacts, images []imageOf) (v1.ImageIndex, error) {
	base, err := baseLayer(s)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var boms []mutate.IndexAddendum
	for _, of := range images {
		image, err := buildImage(s, p, c, base, of)
		if err != nil {
			return nil, fmt.Errorf("build image of %s for %s: %w", p.Name, of.target, err)
		}
		descriptor, err := describe(image)
		if err != nil {
			return nil, err
		}
		descriptor.Platform = &v1.Platform{OS: of.target.OS, Architecture: of.target.Arch}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: descriptor})

		bom, err := buildBOM(of.sbom, descriptor)
		if err != nil {
			return nil, fmt.Errorf("attach bill of materials of %s for %s: %w", p.Name, of.target, err)
		}
		boms = append(boms, mutate.IndexAddendum{Add: bom, Descriptor: v1.Descriptor{
			ArtifactType: string(mediaTypeSBOM), Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
		}})
	}
	annotated, ok := mutate.Annotations(mutate.AppendManifests(index, boms...), labels(s, p, c)).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotate image of %s: the library returns no index", p.Name)
	}
	return annotated, nil
}

func buildImage(s Source, p Program, c chartFacts, base v1.Layer, of imageOf) (v1.Image, error) {
	program, err := layer([]packed{{p.Name, 0o755, of.binary}}, s.time())
	if err != nil {
		return nil, err
	}
	at := v1.Time{Time: s.time()}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: base, History: v1.History{Created: at, CreatedBy: "accounts and certificates of authorities"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: at, CreatedBy: "go build ./cmd/" + p.Name}},
	)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = of.target.OS, of.target.Arch, at
	config.Config = v1.Config{
		User: User, Entrypoint: []string{"/" + p.Name}, WorkingDir: "/", Labels: labels(s, p, c), ExposedPorts: map[string]struct{}{},
	}
	for _, port := range p.Image.Ports {
		config.Config.ExposedPorts[port] = struct{}{}
	}
	return mutate.ConfigFile(image, config)
}

// buildBOM is an artefact with one layer. Its type is the config's media type, as the OCI distribution specification has it for
// manifests without artifactType.
func buildBOM(sbom []byte, subject v1.Descriptor) (v1.Image, error) {
	subject.Platform = nil
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mediaTypeSBOM)
	image, err := mutate.AppendLayers(image, static.NewLayer(sbom, mediaTypeSBOM))
	if err != nil {
		return nil, err
	}
	referring, ok := mutate.Subject(image, subject).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("refer to %s: the library returns no image", subject.Digest)
	}
	return referring, nil
}

func describe(image v1.Image) (v1.Descriptor, error) {
	digest, err := image.Digest()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("describe image: %w", err)
	}
	size, err := image.Size()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("describe image: %w", err)
	}
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, nil
}

func layer(files []packed, at time.Time) (v1.Layer, error) {
	var plain bytes.Buffer
	if err := writeTar(&plain, files, at); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9), tarball.WithCompressedCaching,
	)
}

// baseLayer is what the image holds beside its program. A certificate that is trusted with limits which a PEM file cannot say is left out
// (fails closed).
func baseLayer(s Source) (v1.Layer, error) {
	var authorities bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&authorities, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("encode certificates: %w", err)
		}
	}
	var files []packed
	for _, name := range []string{"etc/group", "etc/passwd"} {
		data, err := rootfs.ReadFile("rootfs/" + name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		files = append(files, packed{name, 0o644, data})
	}
	return layer(append(files, packed{caFile, 0o644, authorities.Bytes()}), s.time())
}

// layoutTar is an OCI layout with the one index as a tar archive, named by its tag.
func layoutTar(s Source, index v1.ImageIndex) (data []byte, err error) {
	dir, err := os.MkdirTemp("", "saguard-layout-")
	if err != nil {
		return nil, fmt.Errorf("write layout: %w", err)
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
	}()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("write layout: %w", err)
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{keyRefName: s.Number()})); err != nil {
		return nil, fmt.Errorf("write layout: %w", err)
	}
	files, err := readFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("write layout: %w", err)
	}
	var out bytes.Buffer
	if err := writeTar(&out, files, s.time()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// readFolder returns every file below dir, sorted by name.
func readFolder(dir string) ([]packed, error) {
	var files []packed
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		files = append(files, packed{filepath.ToSlash(relative), 0o644, data})
		return err
	})
	return files, err
}
