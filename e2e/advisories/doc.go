// Package advisories holds the security advisories of comparable projects against this one: a table of each, what kind of hole it was,
// the tests that show that it is not here, and why it is not. The tests that stand here play against a real API server; those
// elsewhere are cited. docs/advisories.md is written from the table.
package advisories
