package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sumsFile lists every other file of the folder, as `sha256sum -c` reads it.
const sumsFile = "SHA256SUMS"

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func formatSums(sums map[string]string) []byte {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&out, "%s  %s\n", sums[name], name)
	}
	return []byte(out.String())
}

// verifySums compares SHA256SUMS with the folder, both ways, and returns the files by name.
func verifySums(dir string) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return nil, fmt.Errorf("read sums: %w", err)
	}
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !sha256Pattern.MatchString(sum) || listed[name] != "" {
			return nil, fmt.Errorf("%s: line %q: want a sum and a name that stands once", sumsFile, line)
		}
		listed[name] = sum
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	files := map[string][]byte{}
	var problems []error
	for _, entry := range entries {
		name := entry.Name()
		if name == sumsFile {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case err != nil:
			problems = append(problems, err)
		case listed[name] == "":
			problems = append(problems, fmt.Errorf("%s: not in %s", name, sumsFile))
		case listed[name] != sumOf(data):
			problems = append(problems, fmt.Errorf("%s: its sum is %s, not %s", name, sumOf(data), listed[name]))
		}
		files[name] = data
	}
	for name := range listed {
		if _, ok := files[name]; !ok {
			problems = append(problems, fmt.Errorf("%s: in %s, but not there", name, sumsFile))
		}
	}
	return files, errors.Join(problems...)
}
