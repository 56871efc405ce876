// Package hygiene is the check policy-hygiene: whether a Calico policy object
// says what its author can see it say.
//
// It repeats the structural rules of Calico (master of August 2026), which are
// spread over the Go validator of libcalico-go (lib/validator/v3), the OpenAPI
// schema and the CEL rules of the CRDs (api/pkg/apis/projectcalico/v3), because
// none of the three is always in the path: the native CRDs never parse a
// selector (hole F9), and crd.projectcalico.org/v1 has no rules at all. To these
// it adds the refusal of what Calico accepts and then silently widens; see
// [Divergences].
//
// Everything here is a pure function of the object, in time linear in its size.
// Each error has its field path; all errors are found at once, in the order of
// the fields.
package hygiene

// ID is the stable name of the check: audit key, metric label, docs anchor.
const ID = "policy-hygiene"
