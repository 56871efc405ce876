// Package oracle holds the proof by comparison that package rbac answers as the real API server does: the same RBAC objects,
// the same subjects, the same questions, one answered from memory and the other by SubjectAccessReview. It has tests only.
package oracle
