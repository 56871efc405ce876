package release

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// The webhook itself, for this machine's architecture: the image's content is unpacked and run as the image says, in it alone.
func TestWebhookRunsFromItsImage(t *testing.T) {
	root, err := filepath.Abs(product)
	if err != nil {
		t.Fatal(err)
	}
	s := source(root)
	webhook := programNamed(t, "saguard-webhook")
	target := Target{runtime.GOOS, runtime.GOARCH}
	binaries := t.TempDir()
	if err := compile(t.Context(), s, []Program{webhook}, target, binaries); err != nil {
		t.Fatal(err)
	}
	binary := read(t, filepath.Join(binaries, webhook.Name))
	again := t.TempDir()
	if err := compile(t.Context(), s, []Program{webhook}, target, again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(binary, read(t, filepath.Join(again, webhook.Name))) {
		t.Error("two builds differ")
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	bom, err := billOfMaterials(s, webhook, target, info, binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 {
		t.Fatalf("linked from %d modules only", len(info.Deps))
	}
	for _, m := range info.Deps {
		if !bytes.Contains(bom, []byte(m.Path)) {
			t.Errorf("the bill of materials does not name %s", m.Path)
		}
	}
	text, err := notices(t.Context(), s, info)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(text, []byte("\n==== ")); got < len(info.Deps) {
		t.Errorf("notices of %d files for %d modules", got, len(info.Deps))
	}
	if bytes.Contains(binary, []byte(root)) {
		t.Errorf("the binary holds the name of the folder it was built in, %s", root)
	}
	_, facts, err := loadChart(s)
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseLayer(s)
	if err != nil {
		t.Fatal(err)
	}
	image, err := buildImage(s, webhook, facts, base, imageOf{target, binary, bom})
	if err != nil {
		t.Fatal(err)
	}
	runImage(t, image, "saguard-webhook "+s.Version)
}

// runImage unpacks an image and runs its entrypoint with --version: as root, in nothing but its files and as its user.
func runImage(t *testing.T, image v1.Image, want string) {
	t.Helper()
	files, err := contentOf(image)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range files {
		name := filepath.Join(dir, filepath.FromSlash(file.name))
		write(t, name, file.data)
		if err := os.Chmod(name, file.mode.Perm()); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, config.Config.Entrypoint[0]), "--version")
	if os.Geteuid() == 0 {
		// t.TempDir is root's alone.
		for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		inside(t, cmd, dir, config.Config)
	}
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("%s --version: %s, %v, want %s", config.Config.Entrypoint, out, err, want)
	}
}

func programNamed(t *testing.T, name string) Program {
	t.Helper()
	for _, p := range Programs() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no %s", name)
	return Program{}
}

// What the Dockerfile builds and what this package builds are the same, as far as a Dockerfile says it.
func TestImagesAgreeWithTheDockerfile(t *testing.T) {
	parsed, err := parser.Parse(bytes.NewReader(read(t, filepath.Join(product, "Dockerfile"))))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]instructions.Stage{}
	for _, stage := range stages {
		byName[stage.Name] = stage
	}
	for _, p := range Programs() {
		if p.Image == nil {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			said := readStage(t, byName, strings.TrimPrefix(p.Name, "saguard-"))
			if said.user != User || !slices.Equal(said.entrypoint, []string{"/" + p.Name}) {
				t.Errorf("user %s, entrypoint %s, want %s, /%s", said.user, said.entrypoint, User, p.Name)
			}
			slices.Sort(said.ports)
			if !slices.Equal(said.ports, p.Image.Ports) {
				t.Errorf("ports %s, want %s", said.ports, p.Image.Ports)
			}
			slices.Sort(said.files)
			if want := []string{"/", "/" + caFile, "/" + p.Name}; !slices.Equal(said.files, want) {
				t.Errorf("copied are %s, want %s", said.files, want)
			}
			build := readStage(t, byName, "build-"+strings.TrimPrefix(p.Name, "saguard-")).run
			for _, flag := range []string{"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", `-ldflags "-s -w -X main.version=$VERSION"`, "./cmd/" + p.Name} {
				if !strings.Contains(build, flag) {
					t.Errorf("built by %q, without %s", build, flag)
				}
			}
		})
	}
}

type stageSays struct {
	user, run                string
	entrypoint, ports, files []string
}

// readStage is what a stage and those it is made from say; the last word holds.
func readStage(t *testing.T, stages map[string]instructions.Stage, name string) stageSays {
	t.Helper()
	stage, ok := stages[name]
	if !ok {
		t.Fatalf("the Dockerfile has no stage %s", name)
	}
	var says stageSays
	if stage.BaseName != "scratch" {
		if _, ok := stages[stage.BaseName]; ok {
			says = readStage(t, stages, stage.BaseName)
		}
	}
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			says.user = c.User
		case *instructions.EntrypointCommand:
			says.entrypoint = c.CmdLine
		case *instructions.ExposeCommand:
			for _, port := range c.Ports {
				says.ports = append(says.ports, port+"/tcp")
			}
		case *instructions.CopyCommand:
			says.files = append(says.files, c.DestPath)
			if c.DestPath == "/" && !slices.Equal(c.SourcePaths, []string{"release/rootfs/"}) {
				t.Errorf("copied to / is %s", c.SourcePaths)
			}
		case *instructions.RunCommand:
			says.run = strings.Join(c.CmdLine, " ")
		}
	}
	return says
}
