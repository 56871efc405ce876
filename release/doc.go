// Package release makes what is published of one commit: static binaries in archives, container images as OCI layouts, a
// bill of materials for each binary, the Helm chart, the krew manifest and the sums of them all. It needs the Go command and
// a module proxy, no container engine and no registry.
//
// The same source, version and Go version make the same bytes, in any folder and on any machine: every time is the
// commit's, every owner root, every order sorted.
//
//	Export  ──► Source ──► Make: compile ──► archives ──► images ──► chart ──► krew ──► SHA256SUMS
//	                       Verify: the same folder, read back and compared with itself
//
// It is a module of its own, so that neither the product nor its tests depend on the libraries by which it is packaged.
package release
