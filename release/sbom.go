package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

// billOfMaterials is the CycloneDX document of a binary: what the linker put in, as the Go command wrote it into the binary
// itself, and not what go.mod would allow.
func billOfMaterials(s Source, p Program, t Target, info *debug.BuildInfo, binary []byte) ([]byte, error) {
	sum := sha256.Sum256(binary)
	digest := hex.EncodeToString(sum[:])

	main := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, BOMRef: p.Name, Name: p.Name, Version: s.Version, Description: p.Title,
		PackageURL: purl(info.Main.Path, s.Version, "cmd/"+p.Name),
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: digest}},
		Licenses:   &cyclonedx.Licenses{{License: &cyclonedx.License{ID: licenseID}}},
		Properties: &[]cyclonedx.Property{
			{Name: "commit", Value: s.Commit}, {Name: "GOOS", Value: t.OS}, {Name: "GOARCH", Value: t.Arch},
		},
	}
	var components []cyclonedx.Component
	for _, m := range modules(info) {
		c := cyclonedx.Component{
			Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
			PackageURL: purl(m.Path, m.Version, ""), Scope: cyclonedx.ScopeRequired,
		}
		if m.Sum != "" {
			// The sum of go.sum is one of a list of files, not of a file, so it is no hash in the document's sense.
			c.Properties = &[]cyclonedx.Property{{Name: "go.sum", Value: m.Sum}}
		}
		c.BOMRef = c.PackageURL
		components = append(components, c)
	}
	refs := make([]string, 0, len(components))
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceOID, sum[:]).URN()
	bom.Metadata = &cyclonedx.Metadata{Timestamp: s.time().Format(time.RFC3339), Component: &main}
	bom.Components = &components
	// Build information has no edges: that the program contains them is all that is said.
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}

	var out bytes.Buffer
	// Not the newest version, which few programs read yet.
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encode bill of materials of %s for %s: %w", p.Name, t, err)
	}
	return out.Bytes(), nil
}

// modules are what a binary is linked from, the standard library among them, sorted by path.
func modules(info *debug.BuildInfo) []debug.Module {
	all := []debug.Module{{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, debug.Module{Path: m.Path, Version: m.Version, Sum: m.Sum})
	}
	slices.SortFunc(all, func(a, b debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func purl(path, version, subpath string) string {
	namespace, name := "", path
	if i := strings.LastIndex(path, "/"); i >= 0 {
		namespace, name = path[:i], path[i+1:]
	}
	return packageurl.NewPackageURL(packageurl.TypeGolang, namespace, name, version, nil, subpath).ToString()
}
