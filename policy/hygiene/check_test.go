package hygiene

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// short gives an error as "path Type", without the prefix of the type.
func short(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Field+" "+strings.TrimPrefix(string(e.Type), "FieldValue"))
	}
	return out
}

// np, gnp, snp, sgnp are objects with this spec.
func np(spec string) string { return object("NetworkPolicy", `"name":"p","namespace":"n"`, spec) }

func gnp(spec string) string { return object("GlobalNetworkPolicy", `"name":"p"`, spec) }

func snp(spec string) string {
	return object("StagedNetworkPolicy", `"name":"p","namespace":"n"`, spec)
}

func sgnp(spec string) string { return object("StagedGlobalNetworkPolicy", `"name":"p"`, spec) }

func object(kind, metadata, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":%q,"metadata":{%s},"spec":{%s}}`, kind, metadata, spec)
}

func crd(kind, metadata, spec string) string {
	return strings.Replace(object(kind, metadata, spec), "projectcalico.org/v3", "crd.projectcalico.org/v1", 1)
}

// source is an ingress Allow rule from this entity.
func source(entity string) string { return `"ingress":[{"action":"Allow","source":{` + entity + `}}]` }

func rule(fields string) string { return `"ingress":[{` + fields + `}]` }

func repeat(n int, format string) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(format, i))
	}
	return strings.Join(items, ",")
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		in     string
		both   []string // Calico refuses it, too
		strict []string // what strict semantics say instead, if they say more
	}{
		{name: "an empty policy passes", in: np(``)},
		{name: "a policy by account names passes", in: np(source(`"serviceAccounts":{"names":["api-service","user.auth"]}`))},
		{name: "a policy by account labels passes", in: np(source(`"serviceAccounts":{"selector":"role == 'intern'"}`) + `,"serviceAccountSelector":"role == 'db'","order":10`)},
		{name: "a global policy for accounts of named namespaces passes", in: gnp(source(`"namespaceSelector":"team == 'a'","serviceAccounts":{"names":["web"]}`))},
		{name: "staged policies pass", in: sgnp(`"stagedAction":"Set",` + source(`"selector":"app == 'x'"`))},

		// F1, F2: names.
		{name: "F1: a quote in a name", in: np(source(`"serviceAccounts":{"names":["web'"]}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.names[0] Invalid"}},
		{name: "F2: a name that continues the selector", in: np(source(`"serviceAccounts":{"names":["x' } || all() || a in {'y"]}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.names[0] Invalid"}},
		{name: "every bad name is reported", in: np(source(`"serviceAccounts":{"names":["","Web","ok","a b"]}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.names[0] Invalid", "spec.ingress[0].source.serviceAccounts.names[1] Invalid", "spec.ingress[0].source.serviceAccounts.names[3] Invalid"}},
		{name: "a name twice", in: np(source(`"serviceAccounts":{"names":["web","api","web"]}`)),
			both: []string{"spec.ingress[0].source.serviceAccounts.names[2] Duplicate"}},
		{name: "256 names pass", in: np(source(`"serviceAccounts":{"names":[` + repeat(256, `"a%d"`) + `]}`))},
		{name: "257 names do not", in: np(source(`"serviceAccounts":{"names":[` + repeat(257, `"a%d"`) + `]}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.names TooMany"}},

		// F3: what is empty or does not parse.
		{name: "F3: empty accounts", in: np(source(`"serviceAccounts":{}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts Required"}},
		{name: "F3: accounts with empty lists", in: np(`"egress":[{"action":"Deny","destination":{"serviceAccounts":{"names":[],"selector":""}}}]`),
			strict: []string{"spec.egress[0].destination.serviceAccounts Required"}},
		{name: "null accounts are none", in: np(source(`"serviceAccounts":null`))},
		{name: "F3, F9: every selector that does not parse", in: gnp(`"selector":"a =","serviceAccountSelector":"b","namespaceSelector":"has()",` +
			source(`"selector":"a == b","notSelector":"!","namespaceSelector":"(","serviceAccounts":{"selector":"x y"}`)),
			both: []string{
				"spec.ingress[0].source.selector Invalid", "spec.ingress[0].source.notSelector Invalid",
				"spec.ingress[0].source.namespaceSelector Invalid", "spec.ingress[0].source.serviceAccounts.selector Invalid",
				"spec.selector Invalid", "spec.serviceAccountSelector Invalid", "spec.namespaceSelector Invalid",
			}},

		// F4: accounts of whichever namespace.
		{name: "F4: names in a global policy", in: gnp(source(`"serviceAccounts":{"names":["web"]}`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Required"}},
		{name: "F4: labels in a staged global policy", in: sgnp(source(`"serviceAccounts":{"selector":"role == 'x'"}`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Required"}},
		{name: "a blank namespace selector is none", in: gnp(source(`"namespaceSelector":" ","serviceAccounts":{"names":["web"]}`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Required"}},
		{name: "all() says that every namespace is meant", in: gnp(source(`"namespaceSelector":"all()","serviceAccounts":{"names":["web"]}`))},
		{name: "the policy's own namespaceSelector does not scope its rules", in: gnp(`"namespaceSelector":"team == 'a'",` + source(`"serviceAccounts":{"names":["web"]}`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Required"}},
		{name: "a subject by account needs no namespaces", in: gnp(`"serviceAccountSelector":"role == 'intern'"`)},
		{name: "no account is in no namespace", in: np(source(`"namespaceSelector":"global()","serviceAccounts":{"names":["web"]}`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Invalid"}},
		{name: "F4 by F7: a plain selector", in: gnp(source(`"selector":"projectcalico.org/serviceaccount == 'web'"`)),
			strict: []string{"spec.ingress[0].source.namespaceSelector Required"}},
		{name: "a plain selector may name the namespace itself", in: gnp(source(`"selector":"projectcalico.org/serviceaccount == 'web' && projectcalico.org/namespace == 'a'"`))},
		{name: "a plain selector in a namespaced policy is scoped", in: np(source(`"selector":"pcsa.role == 'web'"`))},

		// F6: true without an account.
		{name: "F6: a negative account selector", in: np(source(`"serviceAccounts":{"selector":"role != 'intern'"}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "F6: all()", in: np(source(`"serviceAccounts":{"selector":"all()"}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "F6: a blank, which is all()", in: np(source(`"serviceAccounts":{"selector":" "}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "F6: global()", in: np(source(`"serviceAccounts":{"selector":"global()"}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "negative with a positive test passes", in: np(source(`"serviceAccounts":{"selector":"role != 'intern' && has(projectcalico.org/name)"}`))},
		{name: "negative among names passes", in: np(source(`"serviceAccounts":{"names":["a"],"selector":"role != 'intern'"}`))},
		{name: "a negative subject", in: gnp(`"serviceAccountSelector":"!has(role)"`), strict: []string{"spec.serviceAccountSelector Invalid"}},
		{name: "all() as subject passes", in: gnp(`"serviceAccountSelector":"all()"`)},
		{name: "F6 by F7: a plain selector", in: np(source(`"selector":"pcsa.role != 'intern'"`) + `,"selector":"!has(projectcalico.org/serviceaccount)"`),
			strict: []string{"spec.ingress[0].source.selector Invalid", "spec.selector Invalid"}},
		{name: "naming the namespace does not make it positive", in: np(source(`"selector":"pcsa.role != 'intern' && !(projectcalico.org/namespace == 'a')"`)),
			strict: []string{"spec.ingress[0].source.selector Invalid"}},
		{name: "negative on accounts and positive on pods passes", in: np(source(`"selector":"pcsa.role != 'intern' && app == 'web'"`))},
		{name: "negative on pods alone passes", in: np(source(`"selector":"app != 'web'"`))},

		// F8: bounds.
		{name: "F8: a long account selector", in: np(source(`"serviceAccounts":{"selector":"a == '` + strings.Repeat("v", 1024) + `'"}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "F8: a deep account selector", in: np(source(`"serviceAccounts":{"selector":"` + strings.Repeat("(", 65) + "has(a)" + strings.Repeat(")", 65) + `"}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.selector Invalid"}},
		{name: "a long selector elsewhere", in: np(`"selector":"a == '` + strings.Repeat("v", 1024) + `'"`), both: []string{"spec.selector TooLong"}},
		{name: "1024 characters in more bytes", in: np(`"selector":"a == '` + strings.Repeat("é", 1017) + `'"`), strict: []string{"spec.selector Invalid"}},

		// Structure.
		{name: "a name with two dots", in: object("NetworkPolicy", `"name":"a.b.c"`, ``), both: []string{"metadata.name Invalid"}},
		{name: "the name of a converted policy", in: object("NetworkPolicy", `"name":"knp.default.b.c"`, ``)},
		{name: "a global policy is never a converted one", in: object("GlobalNetworkPolicy", `"name":"knp.default.b"`, ``), both: []string{"metadata.name Invalid"}},
		{name: "no name", in: object("NetworkPolicy", ``, ``), both: []string{"metadata.name Invalid"}},
		{name: "a generated name", in: object("NetworkPolicy", `"generateName":"web-"`, ``)},
		{name: "a bad generated name", in: object("NetworkPolicy", `"generateName":"Web-"`, ``), both: []string{"metadata.generateName Invalid"}},
		{name: "labels and annotations", in: object("NetworkPolicy", `"name":"p","labels":{"-a":"v","b":"-"},"annotations":{"a/b/c":""}`, ``),
			both: []string{"metadata.labels Invalid", "metadata.labels[b] Invalid", "metadata.annotations Invalid"}},
		{name: "annotations that are too large", in: object("NetworkPolicy", `"name":"p","annotations":{"a":"`+strings.Repeat("x", 256<<10)+`"}`, ``), both: []string{"metadata.annotations TooLong"}},
		{name: "a tier that fits no label", in: np(`"tier":"` + strings.Repeat("t", 64) + `"`), both: []string{"spec.tier Invalid"}},
		{name: "types", in: np(`"types":["Ingress","ingress","Ingress"]`), both: []string{"spec.types TooMany", "spec.types[1] NotSupported", "spec.types[2] Duplicate"}},
		{name: "hints", in: np(`"performanceHints":["Foo","AssumeNeededOnEveryNode","AssumeNeededOnEveryNode"]`), both: []string{"spec.performanceHints[0] NotSupported", "spec.performanceHints[2] Duplicate"}},
		{name: "actions", in: np(`"ingress":[{},{"action":"allow"},{"action":"Log"}]`), both: []string{"spec.ingress[0].action Required", "spec.ingress[1].action NotSupported"}},
		{name: "1025 rules", in: np(`"egress":[` + repeat(1025, `{"action":"Deny","metadata":{"annotations":{"n":"%d"}}}`) + `]`), both: []string{"spec.egress TooMany"}},
		{name: "protocols", in: np(rule(`"action":"Allow","protocol":"tcp","notProtocol":0`)), both: []string{"spec.ingress[0].protocol NotSupported", "spec.ingress[0].notProtocol Invalid"}},
		{name: "IP versions", in: np(rule(`"action":"Allow","ipVersion":6,"protocol":1,"notProtocol":"ICMP"`)), both: []string{"spec.ingress[0].protocol Invalid", "spec.ingress[0].notProtocol Invalid"}},
		{name: "an IP version that is none", in: np(rule(`"action":"Allow","ipVersion":5`)), both: []string{"spec.ingress[0].ipVersion Invalid"}},
		{name: "ICMP", in: np(rule(`"action":"Allow","icmp":{"code":256},"notICMP":{"type":255}`)),
			both: []string{"spec.ingress[0].icmp.code Invalid", "spec.ingress[0].icmp.type Required", "spec.ingress[0].notICMP.type Invalid", "spec.ingress[0].icmp Invalid"}},
		{name: "ICMP by number passes", in: np(rule(`"action":"Allow","protocol":58,"icmp":{"type":1,"code":0}`))},
		{name: "nets", in: np(source(`"nets":["10.0.0.1/8","10.0.0.1","fd00::/8","fd00::/8"],"notNets":["::/0"]`)),
			both: []string{
				"spec.ingress[0].source.nets[0] Invalid", "spec.ingress[0].source.nets[1] Invalid", "spec.ingress[0].source.nets[3] Duplicate",
				"spec.ingress[0].source.nets Forbidden", "spec.ingress[0].source.notNets[0] Invalid", "spec.ingress[0].source.notNets Forbidden",
			}},
		{name: "nets of another IP version", in: np(rule(`"action":"Allow","ipVersion":4,"destination":{"nets":["fd00::/8"]}`)), both: []string{"spec.ingress[0].destination.nets Invalid"}},
		{name: "257 nets", in: np(source(`"nets":[` + repeat(257, `"10.%d.0.0/32"`) + `]`)), both: []string{"spec.ingress[0].source.nets TooMany", "spec.ingress[0].source.nets[256] Invalid"}},
		{name: "ports without protocol", in: np(source(`"ports":[80],"notPorts":["http"]`)), both: []string{"spec.ingress[0].source.ports Invalid"}},
		{name: "ports of ICMP", in: np(rule(`"action":"Allow","protocol":"ICMP","source":{"ports":["http"]}`)), both: []string{"spec.ingress[0].source.ports Invalid"}},
		{name: "port values", in: np(rule(`"action":"Allow","protocol":"TCP","source":{"ports":[0,"1:2","Http","http_x"]}`)),
			both: []string{"spec.ingress[0].source.ports[0] Invalid", "spec.ingress[0].source.ports[2] Invalid", "spec.ingress[0].source.ports[3] Invalid"}},
		{name: "51 ports", in: np(rule(`"action":"Allow","protocol":"TCP","source":{"ports":[` + repeat(51, `1%02d`) + `]}`)), both: []string{"spec.ingress[0].source.ports TooMany"}},
		{name: "global() where it may not be", in: gnp(`"selector":"global()","serviceAccountSelector":"global()","namespaceSelector":"global()",` +
			source(`"selector":"global()","namespaceSelector":"!global()"`)),
			both: []string{
				"spec.ingress[0].source.selector Invalid", "spec.ingress[0].source.namespaceSelector Invalid", "spec.selector Invalid",
				"spec.serviceAccountSelector Invalid", "spec.namespaceSelector Invalid",
			},
			strict: []string{
				"spec.ingress[0].source.selector Invalid", "spec.ingress[0].source.namespaceSelector Invalid", "spec.selector Invalid",
				"spec.serviceAccountSelector Invalid", "spec.serviceAccountSelector Invalid", "spec.namespaceSelector Invalid",
			}},
		{name: "global() where it may be", in: np(source(`"namespaceSelector":" global( )","selector":"app == 'x'"`))},
		{name: "HTTP", in: np(rule(`"action":"Deny","protocol":"UDP","http":{"methods":["GET","GET"],"paths":[{},{"exact":"/a","prefix":"/a"},{"exact":"a"},{"prefix":"/ "}]}`)),
			both: []string{
				"spec.ingress[0].http Forbidden", "spec.ingress[0].http Invalid", "spec.ingress[0].http.methods[1] Duplicate",
				"spec.ingress[0].http.paths[0] Required", "spec.ingress[0].http.paths[1] Forbidden", "spec.ingress[0].http.paths[2] Invalid",
				"spec.ingress[0].http.paths[3] Invalid",
			}},
		{name: "HTTP over TCP by number passes", in: np(rule(`"action":"Allow","protocol":6,"http":{"methods":["*"],"paths":[{"prefix":"/a"}]}`))},
		{name: "HTTP in egress", in: np(`"egress":[{"action":"Allow","http":{}}]`), both: []string{"spec.egress[0].http Forbidden"}},
		{name: "too much HTTP", in: np(rule(`"action":"Allow","http":{"methods":[` + repeat(21, `"M%d"`) + `],"paths":[{"exact":"/` + strings.Repeat("x", 1024) + `"}]}`)),
			both: []string{"spec.ingress[0].http.methods TooMany", "spec.ingress[0].http.paths[0] TooLong"}},
		{name: "services at the wrong end", in: np(rule(`"action":"Allow","destination":{"services":{"name":"s"}}`)), both: []string{"spec.ingress[0].destination.services Forbidden"}},
		{name: "services at the wrong end of egress", in: np(`"egress":[{"action":"Allow","source":{"services":{"name":"s"}}}]`), both: []string{"spec.egress[0].source.services Forbidden"}},
		{name: "services next to others", in: gnp(`"egress":[{"action":"Allow","protocol":"TCP","destination":{"services":{"name":"S"},"ports":[1],"notPorts":[2],"nets":["10.0.0.0/8"],"notNets":["11.0.0.0/8"],"selector":"a == 'b'","notSelector":"c == 'd'","namespaceSelector":"e == 'f'"}}]`),
			both: []string{
				"spec.egress[0].destination.services.name Invalid", "spec.egress[0].destination.nets Forbidden", "spec.egress[0].destination.notNets Forbidden",
				"spec.egress[0].destination.selector Forbidden", "spec.egress[0].destination.notSelector Forbidden", "spec.egress[0].destination.namespaceSelector Forbidden",
				"spec.egress[0].destination.services.namespace Required", "spec.egress[0].destination.ports Forbidden", "spec.egress[0].destination.notPorts Forbidden",
			}},
		{name: "services of a namespaced policy pass", in: np(source(`"services":{"name":"s"}`))},
		{name: "services without a name", in: np(source(`"services":{"namespace":"n"}`)), both: []string{"spec.ingress[0].source.services.name Required"}},
		{name: "flags for hosts", in: gnp(`"preDNAT":true,"doNotTrack":true,"types":["Egress"],"egress":[{"action":"Deny"}]`),
			both: []string{"spec.types[0] Forbidden", "spec.preDNAT Forbidden", "spec.egress Forbidden", "spec.applyOnForward Invalid"}},
		{name: "flags for hosts that fit", in: gnp(`"preDNAT":true,"applyOnForward":true,"types":["Ingress"]`)},
		{name: "a staged deletion", in: snp(`"stagedAction":"Delete","tier":"t"`)},
		{name: "a staged deletion of more", in: snp(`"stagedAction":"Delete","order":1`), both: []string{"spec Forbidden"}},
		{name: "an unknown staged action", in: sgnp(`"stagedAction":"set"`), both: []string{"spec.stagedAction NotSupported"}},
		{name: "rule annotations", in: np(rule(`"action":"Allow","metadata":{"annotations":{"":"v"}}`)),
			both: []string{"spec.ingress[0].metadata.annotations Invalid", "spec.ingress[0].metadata.annotations Invalid"}},

		// Calico's store.
		{name: "a stored policy passes", in: crd("NetworkPolicy", `"name":"default.p","annotations":{"projectcalico.org/metadata":"{\"labels\":{\"a\":\"b\"},\"creationTimestamp\":null}"}`, `"tier":"default"`)},
		{name: "a stored policy is checked like any other", in: crd("GlobalNetworkPolicy", `"name":"default.p"`, source(`"serviceAccounts":{"names":["web'"]}`)),
			strict: []string{"spec.ingress[0].source.serviceAccounts.names[0] Invalid", "spec.ingress[0].source.namespaceSelector Required"}},
		{name: "bad metadata in the annotation", in: crd("StagedNetworkPolicy", `"name":"p","annotations":{"projectcalico.org/metadata":"{\"labels\":{\"-\":\"b\"},\"annotations\":{\"/\":\"\"}}"}`, ``),
			strict: []string{
				"metadata.annotations[projectcalico.org/metadata].labels Invalid", "metadata.annotations[projectcalico.org/metadata].annotations Invalid",
				"metadata.annotations[projectcalico.org/metadata].annotations Invalid", "metadata.annotations[projectcalico.org/metadata].annotations Invalid",
			}},
		{name: "no metadata in the annotation", in: crd("NetworkPolicy", `"name":"p","annotations":{"projectcalico.org/metadata":"{"}`, ``),
			strict: []string{"metadata.annotations[projectcalico.org/metadata] Invalid"}},
		{name: "the same annotation means nothing elsewhere", in: object("NetworkPolicy", `"name":"p","annotations":{"projectcalico.org/metadata":"{"}`, ``)},
	}
	seen := map[string]bool{}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := Validate([]byte(tc.in), Calico); !slices.Equal(short(got), tc.both) {
				t.Errorf("calico: got %q\nwant %q\n%v", short(got), tc.both, got.ToAggregate())
			}
			want := tc.strict
			if want == nil {
				want = tc.both
			}
			got := Validate([]byte(tc.in), Strict)
			if !slices.Equal(short(got), want) {
				t.Errorf("strict: got %q\nwant %q\n%v", short(got), want, got.ToAggregate())
			}
			for _, c := range Causes(got) {
				if c.Field == "" || c.Reason == "" || c.Message == "" || len(c.Message) > 600 {
					t.Errorf("cause %+v is of no use", c)
				}
			}
			obj, errs := Decode([]byte(tc.in))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			for _, f := range findings(obj, Strict) {
				seen[f.divergence] = true
			}
		})
	}
	delete(seen, "")
	for _, d := range Divergences() {
		if !seen[d.ID] {
			t.Errorf("divergence %s is listed and no case shows it", d.ID)
		}
		delete(seen, d.ID)
	}
	if len(seen) > 0 {
		t.Errorf("divergences %v are not listed", seen)
	}
}

func TestCheckRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, obj := range map[string]metav1.Object{
		"nil":                 nil,
		"a nil policy":        (*v3.NetworkPolicy)(nil),
		"a pod":               &corev1.Pod{},
		"a network set":       &v3.NetworkSet{},
		"a nil global":        (*v3.GlobalNetworkPolicy)(nil),
		"a nil staged":        (*v3.StagedNetworkPolicy)(nil),
		"a nil staged too":    (*v3.StagedGlobalNetworkPolicy)(nil),
		"a staged k8s policy": &v3.StagedKubernetesNetworkPolicy{},
	} {
		if got := short(Check(obj, Strict)); !slices.Equal(got, []string{"kind NotSupported"}) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestSemanticsReadWhatTheyPrint(t *testing.T) {
	var zero Semantics
	if zero != Strict {
		t.Error("the zero value is not strict")
	}
	for _, s := range []Semantics{Strict, Calico} {
		if got, err := ParseSemantics(s.String()); err != nil || got != s {
			t.Errorf("%s reads as %v, %v", s, got, err)
		}
	}
	if got, err := ParseSemantics("lax"); err == nil || got != Strict {
		t.Errorf("lax reads as %v, %v", got, err)
	}
}
