// Package reachview shows what package reach finds out: as values that are written as JSON, as rows of tables, as a DOT
// graph, and as an HTML page that needs nothing but itself.
package reachview
