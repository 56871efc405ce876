// Package docs holds tests that hold the documentation to the code: links and anchors resolve, commands parse, manifests decode, what
// is named exists, generated pages are current, and recipes do what they say on a real API server.
//
// A page says how a shell block is to be run by a comment right before it: "<!-- run -->" for one that succeeds, "<!-- refused: TEXT
// -->" for one that fails and prints TEXT. Both are pasted into sh as they stand, as an administrator.
package docs
