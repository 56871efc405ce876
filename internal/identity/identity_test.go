package identity_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/identity"
)

func TestParseUsername(t *testing.T) {
	cases := map[string]struct {
		user string
		want string
	}{
		"a service account":  {user: "system:serviceaccount:prod:web", want: "prod/web"},
		"a name with dots":   {user: "system:serviceaccount:prod:web.v1", want: "prod/web.v1"},
		"a person":           {user: "alice"},
		"the empty user":     {user: ""},
		"no name":            {user: "system:serviceaccount:prod"},
		"an empty name":      {user: "system:serviceaccount:prod:"},
		"an empty namespace": {user: "system:serviceaccount::web"},
		"a third part":       {user: "system:serviceaccount:prod:web:x"},
		"upper case":         {user: "system:serviceaccount:Prod:web"},
		"the group's prefix is not the user's prefix": {user: "system:serviceaccounts:prod:web"},
		"a longer prefix": {user: "xsystem:serviceaccount:prod:web"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := identity.ParseUsername(tc.user)
			if tc.want == "" {
				if !errors.Is(err, identity.ErrNotServiceAccount) || !got.IsZero() {
					t.Fatalf("got %q, %v, want ErrNotServiceAccount and nothing", got, err)
				}
				return
			}
			if err != nil || got.String() != tc.want || got.Username() != tc.user {
				t.Errorf("got %q %q, %v, want %q", got, got.Username(), err, tc.want)
			}
		})
	}
}

// Every byte in every position of a name: what a constructor accepts is exactly DNS-1123.
func TestServiceAccountNamesAreExhaustivelyChecked(t *testing.T) {
	for b := range 256 {
		c := string([]byte{byte(b)})
		letter := strings.Contains("abcdefghijklmnopqrstuvwxyz0123456789", c)
		for name, want := range map[string]bool{c: letter, "a" + c + "a": letter || c == "-" || c == ".", "a" + c: letter} {
			a, err := identity.NewServiceAccount("ns", name)
			if (err == nil) != want || a.IsZero() == want {
				t.Errorf("name %q: err %v, want accepted=%v", name, err, want)
			}
		}
		if _, err := identity.NewServiceAccount("a"+c+"a", "x"); (err == nil) != (letter || c == "-") {
			t.Errorf("namespace %q: err %v", "a"+c+"a", err)
		}
	}
}

func TestSubjectGroupsAreComparedExactly(t *testing.T) {
	s := identity.Subject{Groups: []string{"dev", "ops"}}
	for group, want := range map[string]bool{"dev": true, "ops": true, "Dev": false, "de": false, "*": false, "": false} {
		if got := s.InGroup(group); got != want {
			t.Errorf("InGroup(%q) = %v, want %v", group, got, want)
		}
	}
}
