package release

import (
	"fmt"
	"slices"
	"strings"
)

// Target is a platform as the Go command names it.
type Target struct{ OS, Arch string }

func (t Target) String() string { return t.OS + "/" + t.Arch }

// Program is one command of the product.
type Program struct {
	// Name of its folder below cmd and of its binary.
	Name string
	// Title is one line for the labels of the image.
	Title string
	// Targets it is built for.
	Targets []Target
	// Image says how it is packed into an image; nil means it is not.
	Image *ImageConfig
}

// ImageConfig is what the image of a program says beside its files. The Dockerfile says the same, which a test compares.
type ImageConfig struct {
	// Value is the key of values.yaml below which the chart names the image: the digest goes to VALUE.image.digest.
	Value string
	// Ports that the program listens on by default, such as "8080/tcp".
	Ports []string
}

// User of every image: numeric, so that runAsNonRoot can be checked, and as rootfs/etc/passwd has it.
const User = "65532:65532"

// Programs are the product's commands.
func Programs() []Program {
	nodes := []Target{{"linux", "amd64"}, {"linux", "arm64"}}
	return []Program{
		{
			Name: "kubectl-saguard", Title: "kubectl plugin of saguard",
			Targets: append(slices.Clone(nodes), Target{"darwin", "amd64"}, Target{"darwin", "arm64"}, Target{"windows", "amd64"}),
		},
		{Name: "saguard-agent", Title: "node agent of saguard", Targets: nodes, Image: &ImageConfig{Value: "agent"}},
		{
			Name: "saguard-webhook", Title: "admission webhook of saguard", Targets: nodes,
			Image: &ImageConfig{Value: "webhook", Ports: []string{"10250/tcp", "8080/tcp", "8081/tcp"}},
		},
	}
}

// binary is the file name of the program on a platform.
func (p Program) binary(t Target) string {
	if t.OS == "windows" {
		return p.Name + ".exe"
	}
	return p.Name
}

// stem is what the names of the program's artefacts for a platform begin with.
func (p Program) stem(s Source, t Target) string {
	return fmt.Sprintf("%s_%s_%s_%s", p.Name, s.Version, t.OS, t.Arch)
}

// archive is the name of the archive: zip where tar is not at home.
func (p Program) archive(s Source, t Target) string {
	if t.OS == "windows" {
		return p.stem(s, t) + ".zip"
	}
	return p.stem(s, t) + ".tar.gz"
}

// sbom is the name of the bill of materials, by the suffix that CycloneDX recommends.
func (p Program) sbom(s Source, t Target) string { return p.stem(s, t) + ".cdx.json" }

// layout is the name of the OCI layout with the image for all platforms.
func (p Program) layout(s Source) string { return fmt.Sprintf("%s_%s_oci.tar", p.Name, s.Version) }

// targets are all platforms of all programs, sorted.
func targets(programs []Program) []Target {
	var all []Target
	for _, p := range programs {
		for _, t := range p.Targets {
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, func(a, b Target) int {
		if a.OS != b.OS {
			return strings.Compare(a.OS, b.OS)
		}
		return strings.Compare(a.Arch, b.Arch)
	})
	return all
}
