package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
)

// manifest is an object of a file.
type manifest struct {
	*unstructured.Unstructured
	// source is the file, for messages.
	source string
}

// readManifests reads every object of files, directories with all below them, URLs, and "-", which is in. Lists are taken apart. Nothing is
// left out: what cannot be read is an error.
func readManifests(paths []string, in io.Reader) ([]manifest, error) {
	builder := resource.NewLocalBuilder().Unstructured().ContinueOnError()
	var files []string
	for _, p := range paths {
		switch p {
		case "":
			return nil, errors.New("read manifests: empty path")
		case "-":
			builder = builder.Stream(in, "STDIN")
		default:
			files = append(files, p)
		}
	}
	if len(files) > 0 {
		builder = builder.FilenameParam(false, &resource.FilenameOptions{Filenames: files, Recursive: true})
	}
	var out []manifest
	err := builder.Flatten().Do().Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		object, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%s: not an object: %T", info.Source, info.Object)
		}
		out = append(out, manifest{Unstructured: object, source: info.Source})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	return out, nil
}

// describe names an object for messages: "Role prod/interns".
func (m manifest) describe() string {
	name := m.GetName()
	if name == "" && m.GetGenerateName() != "" {
		name = m.GetGenerateName() + "*"
	}
	if m.GetNamespace() != "" {
		name = m.GetNamespace() + "/" + name
	}
	return strings.TrimSpace(m.GetKind() + " " + name)
}
