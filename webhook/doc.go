// Package webhook is the admission edge: bytes in, bytes out, and in between
//
//	decode -> Facts -> checks -> needs asked of RBAC -> Decision -> response + record
//
// Read handler.go first. A check (check_<id>.go) is a pure function of Facts; it says what must be permitted, and never
// asks itself. A mutation (mutate_<id>.go) never decides. Nothing here fails open: what cannot be decided is refused.
package webhook
