package release

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// ErrSource says that a release cannot be made from a Source.
var ErrSource = errors.New("source of the release")

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Source is what a release is made from.
type Source struct {
	// Dir is the folder with the product's go.mod.
	Dir string
	// Version is a semantic version with a leading v, as Go modules and krew spell it (semver.org).
	Version string
	// Commit is the whole hash of the commit, in lower case.
	Commit string
	// Time is when the commit was made. Every time inside the artefacts is this one, cut to seconds in UTC.
	Time time.Time
}

// PseudoVersion is the version of a commit that has no tag, as the Go command makes one up: it sorts below every release.
func PseudoVersion(commit string, at time.Time) string {
	return module.PseudoVersion("v0", "", at, commit[:min(12, len(commit))])
}

// Number is the version without its v, as Helm charts and tags of images have it.
func (s Source) Number() string { return strings.TrimPrefix(s.Version, "v") }

// check returns ErrSource, wrapped, for what no release can be made from.
func (s Source) check() error {
	switch {
	case s.Dir == "":
		return fmt.Errorf("%w: no folder", ErrSource)
	case semver.Canonical(s.Version) != s.Version || s.Version == "":
		// semver.Canonical drops build metadata, which a tag of an image cannot hold.
		return fmt.Errorf("%w: version %q: want vMAJOR.MINOR.PATCH[-PRERELEASE]", ErrSource, s.Version)
	case !commitPattern.MatchString(s.Commit):
		return fmt.Errorf("%w: commit %q: want a whole hash", ErrSource, s.Commit)
	case s.Time.Year() < 1980:
		// The oldest time that a zip archive can hold.
		return fmt.Errorf("%w: time %s: want the commit's", ErrSource, s.Time)
	}
	return nil
}

func (s Source) time() time.Time { return s.Time.UTC().Truncate(time.Second) }
