// Package render writes a review in the forms that other programs and people read: SARIF, JUnit and HTML. JSON is the review
// itself, tables are the command's.
package render
