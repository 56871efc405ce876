package archtest

import (
	"os"
	"testing"
)

func TestImportLaw(t *testing.T) {
	breaches, err := check(os.DirFS("../.."), theLaw())
	if err != nil {
		t.Fatal(err)
	}
	for _, breach := range breaches {
		t.Error(breach)
	}
}

// theLaw: one way, watch -> state -> snapshot -> decision, and nothing back. What it keeps apart on purpose:
//
//   - policy and rbac: two languages, of which only one is monotone;
//   - webhook from internal/state and internal/watch: it declares the small interfaces it needs;
//   - policy and rbac from client-go, controller-runtime and logr: pure packages answer, and neither ask nor log;
//   - everything from cmd.
func theLaw() law {
	return law{
		module: "github.com/saguard/saguard",
		mayImport: map[string]map[string]string{
			"internal/archtest":   {},
			"internal/decision":   {},
			"internal/identity":   {},
			"internal/clientaddr": {},
			"internal/run":        {"internal/clientaddr": "clients share connections"},
			"internal/testenv":    {},
			"api/v1alpha1":        {},
			"audit":               {},
			"audit/auditlog": {
				"audit": "decision records, and whether an event has one",
			},
			"audit/review": {
				"audit":             "decisions",
				"audit/auditlog":    "the entries it is made of",
				"internal/identity": "controllers, and who asks again",
				"rbac":              "the questions asked again, and roles that allow them",
			},
			"audit/review/render": {
				"audit":        "decisions",
				"audit/review": "what it writes",
			},

			"policy/selector": {},
			"policy": {
				"policy/selector":   "a policy holds compiled selectors",
				"internal/identity": "an endpoint has a service account",
			},
			"policy/policytest": {},
			"policy/hygiene": {
				"policy/selector": "whether a selector parses, and what it can select",
			},
			"policy/reference": {
				"policy/selector": "the formula of what a selector refers to",
			},
			"policy/shadow": {
				"policy":            "the rules it compares",
				"policy/selector":   "whether one selector contains another",
				"internal/decision": "tiers may be unknown",
			},
			"internal/ruleset": {},
			"policy/compile": {
				"internal/identity": "the unit is an account with its labels",
				"internal/ruleset":  "what it produces",
				"policy":            "what it compiles",
				"policy/selector":   "whom a policy selects",
			},
			"policy/compile/benchcompile": {
				"internal/ruleset": "the deltas it measures",
				"policy":           "the world it loads",
				"policy/compile":   "what it measures",
			},
			"policy/eval": {
				"policy/selector":   "labels prepared once a snapshot",
				"policy":            "the model it evaluates",
				"internal/decision": "the verdict",
			},

			"authz": {
				"internal/decision": "facts and the verdict",
				"internal/identity": "accounts",
				"policy":            "the snapshot it decides on",
				"policy/eval":       "the judge",
				"policy/selector":   "the labels of namespaces",
			},
			"authz/extauthz": {
				"audit":               "every denial is recorded",
				"authz":               "what it serves",
				"internal/decision":   "the verdict",
				"internal/identity":   "kinds of refusals are counted by account",
				"internal/clientaddr": "clients share connections",
				"policy":              "the snapshot it passes on",
			},

			"enforce": {
				"internal/ruleset": "the value it enforces",
			},
			"enforce/bpf": {
				"enforce":          "the contract",
				"internal/ruleset": "the value it loads",
			},
			"enforce/nft": {
				"enforce":          "the contract",
				"internal/ruleset": "the value it loads",
			},
			"enforce/bypass": {},
			"enforce/packetlog": {
				"audit":            "records",
				"enforce":          "packets",
				"internal/ruleset": "the rules that decided",
			},
			"enforce/enforcetest": {
				"enforce":          "the contract it holds to",
				"internal/ruleset": "the value it holds",
			},
			"enforce/appliertest": {
				"enforce":           "the contract it tests",
				"internal/decision": "verdicts to compare",
				"internal/ruleset":  "the value it hands over",
				"internal/testenv":  "network namespaces may be missing",
				"policy":            "worlds",
				"policy/compile":    "worlds to rules",
				"policy/eval":       "the oracle",
				"policy/policytest": "random worlds",
			},
			"enforce/appliertest/both": {},
			"enforce/benchnode": {
				"enforce":          "the contract, and the loop it measures",
				"enforce/bpf":      "one backend",
				"enforce/nft":      "the other",
				"internal/desired": "the feed it measures",
				"internal/ruleset": "the value it hands over",
				"internal/state":   "the feed it measures",
				"policy":           "worlds",
				"policy/compile":   "worlds to rules",
			},
			"internal/desired": {
				"enforce":        "the feed it is",
				"internal/state": "the events",
				"policy":         "objects",
				"policy/compile": "the compiler",
			},
			"internal/nodeapi": {
				"enforce":           "what the kernel answers",
				"internal/decision": "verdicts to show",
				"internal/ruleset":  "flows and rules",
				"policy":            "the snapshot to explain by",
				"policy/eval":       "why",
			},
			"internal/nodestatus": {},

			"rbac": {
				"internal/identity": "the subject of a question",
			},
			"rbac/rbactest": {
				"rbac":              "random worlds and questions for it",
				"internal/identity": "the subject of a question",
			},

			"internal/accessreview": {
				"rbac":              "it implements the reviewer that rbac declares",
				"internal/identity": "the subject of a question",
			},
			"internal/band": {
				"api/v1alpha1": "the bands it looks into",
			},
			"internal/guard": {
				"api/v1alpha1":      "the guards it compiles",
				"internal/identity": "exemptions name subjects",
			},
			"internal/status": {
				"api/v1alpha1":   "the statuses it writes",
				"internal/guard": "whether a guard can be obeyed as written",
			},
			"internal/state": {
				"api/v1alpha1":      "guards and bands as they are in the cluster",
				"internal/decision": "a fact is known, absent or unknown",
				"internal/guard":    "a snapshot holds compiled guards",
				"internal/identity": "as whom a pod runs",
				"policy":            "policies and tiers for advice, objects for the agent",
				"policy/reference":  "in which namespaces a policy's keys are guarded",
				"policy/selector":   "the label keys that policies read",
				"policy/shadow":     "policies kept for advice",
				"rbac":              "a snapshot holds the RBAC index",
			},
			"internal/watch": {
				"api/v1alpha1":      "the kinds it watches",
				"internal/decision": "a fact is known, absent or unknown",
				"internal/guard":    "which kinds of policy matter to guards",
				"internal/identity": "as whom a pod runs",
				"internal/state":    "where what it sees goes",
				"policy":            "decoding",
				"policy/shadow":     "decoding",
			},
			"internal/offline": {
				"authz":             "decisions of the identity check",
				"internal/decision": "the verdict it prints",
				"policy":            "the model of the manifests it reads",
				"policy/eval":       "verdicts of flows",
				"policy/selector":   "matches of selectors",
			},

			"internal/reach": {
				"internal/ruleset": "rows it combines",
				"policy":           "the snapshots it maps",
				"policy/compile":   "exact segments of every identity",
			},
			"internal/reachview": {
				"internal/reach":   "what it shows",
				"internal/ruleset": "the rule that decides",
				"policy":           "protocol numbers",
			},

			"internal/cli": {
				"authz":                 "the flags and differences of the identity check",
				"internal/reach":        "map and diff",
				"internal/reachview":    "how they are shown",
				"audit":                 "outcomes of decisions",
				"audit/auditlog":        "logs to review",
				"audit/review":          "review",
				"audit/review/render":   "the forms of a review",
				"api/v1alpha1":          "guards and bands among the manifests",
				"internal/accessreview": "check asks the cluster what somebody may",
				"internal/decision":     "the verdict it prints",
				"internal/guard":        "what holds in a namespace",
				"internal/identity":     "--as names a subject",
				"internal/offline":      "what a command does with manifests alone",
				"internal/state":        "check holds guards, bands and policies as the webhook does",
				"internal/watch":        "check looks namespaces and pods up as the webhook does",
				"webhook":               "check runs the webhook's checks",
				"policy":                "which semantics a flag names",
				"policy/hygiene":        "check -f",
				"policy/shadow":         "lint: policies that never match",
				"policy/selector":       "check -f",
				"internal/hollow":       "lint: who gets around a guard",
				"internal/replay":       "review --replay under proposed guards",
				"internal/request":      "an object as the request that creates it",
				"internal/scan":         "scan",
				"internal/scan/live":    "scan of a cluster",
				"internal/scan/report":  "the forms of a scan",
				"rbac":                  "the answers of who-can and the rules of grant",
			},

			"internal/request": {
				"internal/identity": "who asks",
				"webhook":           "the resources that it judges",
			},
			"internal/hollow": {
				"api/v1alpha1":      "guards",
				"internal/decision": "modes",
				"internal/guard":    "what holds in a namespace",
				"internal/identity": "subjects that are Kubernetes's own",
				"rbac":              "who holds what",
			},
			"internal/scan": {
				"api/v1alpha1":      "guards and bands",
				"internal/decision": "the verdict",
				"internal/guard":    "what holds in a namespace",
				"internal/hollow":   "who gets around a guard",
				"internal/identity": "whose a label is",
				"internal/request":  "an object as the request that creates it",
				"rbac":              "whether anybody holds a permission",
				"webhook":           "the checks",
			},
			"internal/scan/live": {
				"api/v1alpha1":      "guards and bands",
				"internal/decision": "the verdict",
				"internal/hollow":   "RBAC as it finds it",
				"internal/scan":     "what it feeds",
				"rbac":              "RBAC as it finds it",
				"webhook":           "the world of the checks",
			},
			"internal/scan/report": {
				"api/v1alpha1":  "the names of guards",
				"internal/scan": "what it writes",
			},
			"internal/scan/background": {
				"api/v1alpha1":         "the status of guards",
				"internal/scan":        "what it runs",
				"internal/scan/live":   "the cluster to scan",
				"internal/scan/report": "OpenReports",
				"rbac":                 "the index",
				"webhook":              "the world of the checks",
			},
			"internal/replay": {
				"api/v1alpha1":      "the guards proposed",
				"audit":             "decisions",
				"audit/review":      "the requests of a log",
				"internal/guard":    "the guards proposed",
				"internal/identity": "who asked",
				"rbac":              "the questions asked again",
				"webhook":           "the checks",
			},

			"internal/rotation": {
				"internal/decision": "facts that are Known, Absent or Unknown",
			},
			"internal/certificates": {
				"internal/decision": "facts that are Known, Absent or Unknown",
				"internal/rotation": "what to do next",
			},
			"internal/clientauth": {},
			"internal/registration": {
				"api/v1alpha1": "an object that admission has to refuse",
			},

			"webhook": {
				"api/v1alpha1":      "the objects of guard-change",
				"audit":             "every answer is recorded",
				"internal/decision": "the verdict",
				"internal/band":     "where a policy lies",
				"internal/guard":    "what holds in a namespace",
				"internal/identity": "who asks",
				"policy":            "advice",
				"policy/hygiene":    "check policy-hygiene",
				"policy/shadow":     "advice: policies that never match",
				"policy/reference":  "whom a policy refers to",
				"policy/selector":   "the formula of a reference",
				"rbac":              "the questions and their answers",
			},

			"cmd/kubectl-saguard": {
				"internal/cli": "wiring",
			},
			"cmd/saguard-agent": {
				"audit":               "wiring",
				"authz":               "wiring",
				"authz/extauthz":      "wiring",
				"enforce":             "wiring",
				"enforce/bpf":         "wiring",
				"enforce/bypass":      "wiring",
				"enforce/nft":         "wiring",
				"enforce/packetlog":   "wiring",
				"internal/desired":    "wiring",
				"internal/nodeapi":    "wiring",
				"internal/nodestatus": "wiring",
				"internal/run":        "wiring",
				"internal/state":      "wiring",
				"internal/watch":      "wiring",
				"policy":              "wiring",
			},
			"cmd/saguard-webhook": {
				"api/v1alpha1":             "wiring",
				"audit":                    "wiring",
				"internal/accessreview":    "wiring",
				"internal/certificates":    "wiring",
				"internal/clientauth":      "wiring",
				"internal/guard":           "wiring",
				"internal/registration":    "wiring",
				"internal/rotation":        "wiring",
				"internal/run":             "wiring",
				"internal/scan/background": "wiring",
				"internal/state":           "wiring",
				"internal/status":          "wiring",
				"internal/watch":           "wiring",
				"rbac":                     "wiring",
				"webhook":                  "wiring",
			},
		},
		testsMayImport: map[string]map[string]string{
			"rbac":             {"rbac/rbactest": "random worlds and questions"},
			"policy/reference": {"policy": "what Calico selects, the oracle"},
			"policy/shadow":    {"policy/eval": "the oracle"},
			"enforce": {
				"enforce/enforcetest": "a kernel in memory",
				"internal/desired":    "a feed",
				"internal/state":      "a feed",
				"policy":              "worlds",
				"policy/compile":      "worlds to rules",
			},
			"enforce/bpf": {
				"enforce/appliertest": "the conformance suite",
				"internal/testenv":    "network namespaces may be missing",
			},
			"enforce/nft": {
				"enforce/appliertest": "the conformance suite",
				"internal/testenv":    "network namespaces may be missing",
			},
			"enforce/appliertest/both": {
				"enforce":             "the contract",
				"enforce/appliertest": "the conformance suite",
				"enforce/bpf":         "one backend",
				"enforce/nft":         "the other",
			},
			"enforce/benchnode": {"internal/testenv": "network namespaces may be missing"},
			"internal/desired": {
				"enforce/enforcetest": "a kernel in memory",
				"internal/ruleset":    "what comes out",
			},
			"internal/nodeapi": {"policy/compile": "worlds to rules"},
			"internal/state": {
				"internal/ruleset": "what its feed compiles to",
				"policy/compile":   "what its feed compiles to",
			},
			"internal/watch": {"policy/reference": "what is asked of what was followed"},
			"internal/cli": {
				"rbac/rbactest": "RBAC from a few words",
			},
			"internal/hollow":       {"rbac/rbactest": "RBAC from a few words"},
			"internal/certificates": {"internal/run": "a lifetime"},
			"internal/replay": {
				"internal/decision": "verdicts to compare",
				"policy/reference":  "advice",
				"policy/shadow":     "advice",
				"rbac/rbactest":     "RBAC from a few words",
			},
			"internal/scan": {
				"policy/reference": "advice",
				"policy/shadow":    "advice",
				"rbac/rbactest":    "RBAC from a few words",
			},
			"internal/scan/background": {
				"internal/decision": "facts of its world",
				"internal/guard":    "guards of its world",
				"internal/identity": "accounts of its world",
				"policy/reference":  "advice",
				"policy/shadow":     "advice",
			},
			"policy/eval":         {"policy/policytest": "random worlds"},
			"audit/review/render": {"internal/testenv": "a browser may be missing"},
			"authz/extauthz": {
				"enforce/nft":      "packet rules that are live beside it",
				"internal/testenv": "network namespaces may be missing",
				"policy/compile":   "packet rules that are live beside it",
			},
			"policy/compile": {
				"internal/decision": "verdicts to compare",
				"policy/eval":       "the oracle",
				"policy/policytest": "random worlds",
			},
			"internal/reach": {
				"internal/decision": "verdicts to compare",
				"policy/eval":       "the oracle",
			},
			"internal/reachview": {"internal/testenv": "a browser may be missing"},
		},
		confined: map[string]map[string]string{
			// The language of the API, and pure functions on it.
			"k8s.io/api":          {"*": "types"},
			"k8s.io/apimachinery": {"*": "types and validation"},
			"sigs.k8s.io/json":    {"audit/auditlog": "strict decoding", "policy": "strict decoding", "policy/hygiene": "strict decoding", "webhook": "strict decoding", "internal/watch": "pods, of which little is kept"},
			"sigs.k8s.io/yaml":    {"internal/offline": "manifests from files", "internal/cli": "manifests to apply"},
			"github.com/projectcalico/api": {
				"policy":                      "types of Calico v3",
				"policy/compile/benchcompile": "a policy to change",
				"policy/hygiene":              "types of Calico v3",
				"policy/reference":            "types of Calico v3",
				"policy/shadow":               "types of Calico v3",
				"enforce/appliertest":         "objects of its stories",
				"policy/policytest":           "random worlds",
				"webhook":                     "types of Calico v3",
			},

			// The kernel.
			"github.com/cilium/ebpf":         {"enforce/bpf": "programs, maps, links", "enforce/benchnode": "a program that accepts, to compare with"},
			"github.com/google/nftables":     {"enforce/bpf": "conntrack is switched on by a rule", "enforce/nft": "tables, sets, rules"},
			"github.com/mdlayher/netlink":    {"enforce/nft": "its socket, and packets that were logged"},
			"golang.org/x/sys":               {"enforce/bpf": "the kernel's constants", "enforce/nft": "the kernel's constants", "enforce/appliertest": "packets", "enforce/benchnode": "threads, and the time they took"},
			"github.com/vishvananda/netns":   {"enforce/appliertest": "network namespaces", "enforce/benchnode": "network namespaces"},
			"github.com/vishvananda/netlink": {"enforce/appliertest": "their links", "enforce/benchnode": "their links"},
			"golang.org/x/time":              {"enforce/packetlog": "a limit on records"},

			// The identity check.
			"github.com/spiffe/go-spiffe":            {"authz": "SPIFFE IDs"},
			"github.com/envoyproxy/go-control-plane": {"authz/extauthz": "Envoy's ext_authz"},
			"google.golang.org/grpc":                 {"authz/extauthz": "Envoy's ext_authz"},
			"google.golang.org/genproto":             {"authz/extauthz": "Envoy's ext_authz"},
			"google.golang.org/protobuf":             {"authz/extauthz": "Envoy's ext_authz"},
			"golang.org/x/net":                       {"authz/extauthz": "a bound on connections"},

			// Logs, and what is made of them.
			"k8s.io/apiserver":                    {"audit/auditlog": "the type of audit events", "audit/review": "audit events"},
			"github.com/klauspost/compress":       {"audit/auditlog": "zstd"},
			"github.com/owenrumney/go-sarif":      {"audit/review/render": "SARIF", "internal/scan/report": "SARIF"},
			"github.com/jstemmer/go-junit-report": {"audit/review/render": "JUnit", "internal/scan/report": "JUnit"},
			"github.com/openreports/reports-api": {
				"internal/scan/report":     "OpenReports",
				"internal/scan/background": "OpenReports",
				"cmd/saguard-webhook":      "a scheme",
			},
			"github.com/schollz/progressbar": {"internal/cli": "a progress bar"},

			// Whoever talks to the API server.
			"k8s.io/client-go": {
				"cmd/saguard-agent":     "wiring",
				"internal/nodestatus":   "a lease per node",
				"internal/certificates": "one Secret and two configurations",
				"internal/clientauth":   "certificates from files",
				"internal/cli":          "the cluster that kubectl's configuration names",
				"internal/run":          "the lease that elects a leader",
				"internal/watch":        "informers",
				"cmd/saguard-webhook":   "wiring",
			},
			"k8s.io/cli-runtime": {
				"internal/cli":        "kubectl's flags and printers",
				"cmd/kubectl-saguard": "the three streams",
			},
			"sigs.k8s.io/controller-runtime": {
				"cmd/saguard-agent":        "signals and logger",
				"internal/cli":             "reads what a command asks the cluster",
				"internal/status":          "writes statuses",
				"internal/scan/background": "writes what it found",
				"internal/scan/live":       "reads the objects, in pages",
				"internal/watch":           "the client",
				"cmd/saguard-webhook":      "manager and servers",
			},

			// Whoever logs or measures.
			"go.uber.org/zap": {
				"internal/run": "the one logger",
			},
			"go.uber.org/zap/zapcore": {
				"internal/run":        "the one logger",
				"audit":               "records go through its encoder",
				"cmd/saguard-agent":   "the level of the logger",
				"cmd/saguard-webhook": "the level of the logger",
			},
			"github.com/go-logr/zapr": {"internal/run": "the one logger"},
			"github.com/go-logr/logr": {
				"authz/extauthz":           "what no answer can say",
				"cmd/saguard-agent":        "wiring",
				"enforce":                  "what no status can say",
				"enforce/benchnode":        "a logger that says nothing",
				"enforce/packetlog":        "a record that could not be written",
				"internal/nodestatus":      "a write that is to be tried again",
				"internal/certificates":    "each step of a rotation, once",
				"internal/clientauth":      "a CA that cannot be read again",
				"internal/scan/background": "a scan that is to be tried again",
				"internal/run":             "makes the logger",
				"internal/status":          "a write that is to be tried again",
				"webhook":                  "what no answer can say",
				"cmd/saguard-webhook":      "wiring",
			},
			"k8s.io/klog": {
				"cmd/saguard-agent":   "client-go's own lines go to the one logger",
				"internal/watch":      "the logger that client-go takes from the context",
				"cmd/saguard-webhook": "client-go's own lines go to the one logger",
			},
			"github.com/prometheus/client_golang": {
				"authz/extauthz":           "decisions as metrics",
				"cmd/saguard-agent":        "the registry and its page",
				"enforce":                  "latency, drift and drops as metrics",
				"enforce/benchnode":        "the loop wants a registry",
				"internal/run":             "health as metrics",
				"internal/certificates":    "rotation as metrics",
				"internal/clientauth":      "clients refused as metrics",
				"internal/scan/background": "what was found as metrics",
				"cmd/saguard-webhook":      "the registry",
				"internal/watch":           "freshness as metrics",
				"webhook":                  "decisions as metrics",
			},

			"github.com/benbjohnson/immutable": {"rbac": "persistent maps of the index"},
			"gopkg.in/evanphx/json-patch.v4":   {"internal/cli": "an object after mutation", "webhook": "what a request looks like after mutation, offline"},
			"k8s.io/utils":                     {"internal/watch": "the clock of client-go's backoff"},
			"golang.org/x/sync":                {"internal/watch": "a group of informers", "authz/extauthz": "a group of listeners", "webhook": "a budget of bytes"},
			"github.com/spf13":                 {"cmd/saguard-agent": "commands and flags", "cmd/saguard-webhook": "flags", "internal/cli": "commands and flags"},

			// Of the standard library: what a pure package has no use for.
			"C":        {},
			"log":      {},
			"log/slog": {"authz/extauthz": "net/http's own errors go to the one logger", "internal/run": "net/http's own errors go to the one logger"},
			"os/exec":  {"enforce/appliertest": "an agent to be killed", "enforce/benchnode": "a process whose memory is measured"},
			"unsafe":   {"enforce/benchnode": "packets in bulk"},
			"net/http": {"cmd/saguard-agent": "metrics and health", "internal/nodeapi": "status and explain on a unix socket", "authz/extauthz": "POST /v1/check", "internal/run": "health", "webhook": "the edge"},
			"os":       {"enforce/benchnode": "arguments, results and the exit code", "cmd/saguard-agent": "arguments and exit code", "enforce/appliertest": "namespaces, and itself again", "enforce/bpf": "pins", "enforce/nft": "errors of the kernel", "internal/nodeapi": "a unix socket", "authz/extauthz": "unix sockets, and files of certificates", "internal/clientauth": "files of certificates", "audit/auditlog": "log files", "internal/testenv": "REQUIRE", "internal/cli": "files and the environment", "internal/offline": "files given on the command line", "policy/compile/benchcompile": "a file and the exit code", "cmd/saguard-webhook": "arguments and exit code", "cmd/kubectl-saguard": "arguments and exit code"},
		},
	}
}
