package testenv

import "testing"

func TestRequired(t *testing.T) {
	for name, tc := range map[string]struct {
		list string
		want bool
	}{
		"nothing":            {"", false},
		"alone":              {"netns", true},
		"among others":       {"controlplane, netns nodes", true},
		"another":            {"controlplane,nodes", false},
		"part of a word":     {"netnsx", false},
		"around it no space": {"nodes,netns,chromium", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := required(tc.list, NetNS); got != tc.want {
				t.Errorf("required(%q) is %v, want %v", tc.list, got, tc.want)
			}
		})
	}
}
