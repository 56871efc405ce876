package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/saguard/saguard/policy"
)

// ReadPaths reads objects from files, directories (every .yaml, .yml and .json below them, in the order of their names)
// and "-", which is stdin. All errors are returned together, each with file and document, counted from 1: an object that
// cannot be read is never left out silently.
func ReadPaths(paths []string, stdin io.Reader, sem policy.Semantics) (*Objects, error) {
	o := &Objects{}
	var errs []error
	for _, path := range paths {
		if path == "-" {
			errs = append(errs, o.Read("stdin", stdin, sem))
			continue
		}
		files, err := expand(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, file := range files {
			errs = append(errs, o.readFile(file, sem))
		}
	}
	return o, errors.Join(errs...)
}

func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch strings.ToLower(filepath.Ext(name)) {
		case ".yaml", ".yml", ".json":
			if !entry.IsDir() {
				files = append(files, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read objects: no .yaml, .yml or .json in %s", path)
	}
	slices.Sort(files)
	return files, nil
}

func (o *Objects) readFile(name string, sem policy.Semantics) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read objects: %w", err)
	}
	return o.Read(name, bytes.NewReader(text), sem)
}

// Read reads a stream of YAML documents or JSON values. name is for error messages.
func (o *Objects) Read(name string, in io.Reader, sem policy.Semantics) error {
	var errs []error
	err := documents(in, func(n int, raw []byte, err error) {
		where := fmt.Sprintf("%s: document %d", name, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
			return
		}
		errs = append(errs, o.Add(where, raw, sem))
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return errors.Join(errs...)
}

// documents calls each with the JSON of every document that is not empty, and with its number. What starts with a brace
// or bracket is a stream of JSON values, anything else is YAML.
func documents(in io.Reader, each func(n int, raw []byte, err error)) error {
	buffered := bufio.NewReader(in)
	first, err := firstByte(buffered)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if first == '{' || first == '[' {
		return jsonValues(buffered, each)
	}
	reader := utilyaml.NewYAMLReader(buffered)
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read document %d: %w", n, err)
		}
		raw, err := yaml.YAMLToJSONStrict(doc)
		if err == nil && bytes.Equal(raw, []byte("null")) {
			continue
		}
		each(n, raw, err)
	}
}

// firstByte returns the first byte that is no blank, which it leaves to be read.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, in.UnreadByte()
		}
	}
}
