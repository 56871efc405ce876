package docs_test

import (
	"testing"

	"github.com/saguard/saguard/e2e/reference"
)

// The pages of docs/reference are what the code says today.
func TestReferenceIsCurrent(t *testing.T) {
	pages, err := reference.Pages(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := reference.Compare(root, pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		t.Errorf("%s/%s is not what the code says; write it anew with: %s", reference.Dir, name, reference.Refresh)
	}
}
