// Package report writes what a scan found in the forms that other programs read: SARIF, JUnit and OpenReports. It is pure.
package report

import "github.com/saguard/saguard/internal/scan"

// texts explains the checks, by ID. A check that it does not name is explained by its ID.
func texts() map[string]string {
	return map[string]string{
		"label-use":          "A label that RBAC guards is on a service account, and whoever put it there may not, or nobody may.",
		"account-use":        "A workload runs as a service account that nobody is granted the use of.",
		"account-token":      "A token of a service account that nobody is granted the use of.",
		"policy-reference":   "A policy refers to service accounts that nobody is granted to bind.",
		"policy-precedence":  "A policy lies where nobody is granted to place one.",
		"policy-hygiene":     "A policy means something else than it says, or can be made to.",
		"reserved-label":     "A label is written that Calico derives from service accounts and namespaces.",
		"default-binding":    "Rights are granted to accounts named default, which every pod that names none runs as.",
		"guard-change":       "A guard or a band is not valid.",
		scan.CheckHollow:     "Somebody can get around the guards by RBAC.",
		scan.CheckUnreadable: "An object that admission cannot read.",
		ruleUnjudged:         "What could not be judged. It may be in order or not.",
	}
}

// ruleUnjudged is the rule of what could not be judged.
const ruleUnjudged = "unjudged"

// rules returns every rule with its text.
func rules() map[string]string {
	out, known := map[string]string{ruleUnjudged: texts()[ruleUnjudged]}, texts()
	for _, id := range scan.Checks() {
		out[id] = known[id]
		if out[id] == "" {
			out[id] = "Check " + id + "."
		}
	}
	return out
}

// place is where an object is: its file, or what stands for it in a cluster.
func place(o *scan.Object) string {
	if o.Source != "" {
		return o.Source
	}
	namespace := o.Namespace
	if namespace == "" {
		namespace = "_cluster"
	}
	return "cluster/" + namespace + "/" + o.Kind + "/" + o.Name
}
