package cli

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

func TestParsePermission(t *testing.T) {
	cases := map[string]struct {
		verb, kind, arg, account string
		name                     string // the resourceName that grants it
		refused                  string // part of the error
	}{
		"a label":                                {verb: "use", kind: "label", arg: "role=intern", name: "role=intern"},
		"a label with an empty value":            {verb: "use", kind: "label", arg: "role=", name: "role="},
		"a label with a prefix":                  {verb: "bind", kind: "labels", arg: "example.com/zone=a", name: "example.com/zone=a"},
		"any value":                              {verb: "use", kind: "label", arg: "role=*", name: "role=*"},
		"any key of a prefix":                    {verb: "use", kind: "label", arg: "example.com/*", name: "example.com/*"},
		"any label":                              {verb: "use", kind: "label", arg: "*", name: ""},
		"a label of one account":                 {verb: "use", kind: "label", arg: "role=intern", account: "web", name: "web:role=intern"},
		"any value of one account":               {verb: "use", kind: "label", arg: "role=*", account: "web", name: "web:role=*"},
		"any key of a prefix of one account":     {verb: "use", kind: "label", arg: "example.com/*", account: "web", name: "web:example.com/*"},
		"any label of one account":               {verb: "use", kind: "label", arg: "*", account: "web", name: "web:*"},
		"an account":                             {verb: "use", kind: "account", arg: "web", name: "web"},
		"an account by its resource's name":      {verb: "bind", kind: "serviceaccounts", arg: "web.v1", name: "web.v1"},
		"any account":                            {verb: "use", kind: "sa", arg: "*", name: ""},
		"a band":                                 {verb: "use", kind: "band", arg: "developer", name: "developer"},
		"any band":                               {verb: "use", kind: "policybands", arg: "*", name: ""},
		"an unknown verb":                        {verb: "get", kind: "label", arg: "role=intern", refused: `verb "get"`},
		"an unknown kind":                        {verb: "use", kind: "pod", arg: "web", refused: `kind "pod"`},
		"a band to bind":                         {verb: "bind", kind: "band", arg: "developer", refused: "use band developer"},
		"an account of an account":               {verb: "use", kind: "account", arg: "web", account: "web", refused: "--account"},
		"a bind limited to one account":          {verb: "bind", kind: "label", arg: "role=intern", account: "web", refused: "--account"},
		"an account that is no name":             {verb: "use", kind: "label", arg: "role=intern", account: "Web", refused: "--account"},
		"a label without value":                  {verb: "use", kind: "label", arg: "role", refused: "KEY=VALUE"},
		"a key that is none":                     {verb: "use", kind: "label", arg: "ro le=x", refused: "label key"},
		"a key in upper-case prefix":             {verb: "use", kind: "label", arg: "Example.com/zone=a", refused: "label key"},
		"a value that is none":                   {verb: "use", kind: "label", arg: "role=a/b", refused: "label value"},
		"a star inside a value":                  {verb: "use", kind: "label", arg: "role=a*", refused: "label value"},
		"a star for the key":                     {verb: "use", kind: "label", arg: "*=a", refused: "label key"},
		"a prefix that is none":                  {verb: "use", kind: "label", arg: "Example/*", refused: "label prefix"},
		"the spelling of resourceNames":          {verb: "use", kind: "label", arg: "web:role=intern", refused: "--account web"},
		"an account that no manifest could have": {verb: "use", kind: "account", arg: "web_1", refused: "account"},
		"no name":                                {verb: "use", kind: "account", refused: "write '*'"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := parsePermission(tc.verb, tc.kind, tc.arg, tc.account)
			switch {
			case (err != nil) != (tc.refused != ""):
				t.Fatalf("error %v, want %q", err, tc.refused)
			case err != nil && !strings.Contains(err.Error(), tc.refused):
				t.Fatalf("error %v, want %q in it", err, tc.refused)
			case err == nil && p.resourceName() != tc.name:
				t.Errorf("granted by %q, want %q", p.resourceName(), tc.name)
			}
		})
	}
}

// permissions are one of each form.
func permissions(t *testing.T) []permission {
	t.Helper()
	var out []permission
	for _, verb := range []string{"use", "bind"} {
		for _, kind := range []string{"label", "account", "band"} {
			for _, name := range []string{"role=intern", "role=", "role=*", "example.com/zone=a", "example.com/zone=*", "example.com/*", "*", "web"} {
				for _, account := range []string{"", "web"} {
					if p, err := parsePermission(verb, kind, name, account); err == nil {
						out = append(out, p)
					}
				}
			}
		}
	}
	if len(out) < 25 {
		t.Fatalf("only %d permissions", len(out))
	}
	return out
}

// What grant prints makes who-can list the subject, in that place and no other, and makes `kubectl auth can-i` answer yes: the API server is
// asked for the literal name, which Exact is.
func TestWhatIsGrantedIsHeld(t *testing.T) {
	for _, p := range permissions(t) {
		for _, namespace := range []string{"prod", ""} {
			subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "alice"}
			r := grantRequest{permissions: []permission{p}, namespace: namespace, subjects: []rbacv1.Subject{subject}}
			o := grantedObjects(t, &r)
			if !lists(whoCan(o, p, namespace), "alice") {
				t.Errorf("%+v in %q: granted and not listed", p, namespace)
			}
			if got := lists(whoCan(o, p, "dev"), "alice"); got != (namespace == "") {
				t.Errorf("%+v granted in %q: listed in dev: %v", p, namespace, got)
			}
			q := p.grantQuestion(namespace)
			q.Name = rbac.Exact(q.Name.String())
			if _, ok := indexOf(o).Authorize(identity.Subject{User: "alice"}, q); !ok {
				t.Errorf("%+v: %s answers no", p, q.CanI())
			}
		}
	}
}

// A denial names the plain KEY=VALUE; what grant prints for that must turn its can-i line.
func TestGrantTurnsTheLineOfADenial(t *testing.T) {
	denials := map[string]rbac.Question{
		"use label role=intern":         rbac.UseLabel("prod", "web", "role", "intern"),
		"bind label example.com/zone=a": rbac.BindLabel("prod", "example.com/zone", "a"),
		"use account web":               rbac.UseAccount("prod", "web"),
		"bind account web":              rbac.BindAccount("prod", "web"),
		"bind account *":                rbac.BindAnyAccount("prod"),
		"bind label *":                  rbac.BindUnrestrictedLabels("prod"),
		"use band developer":            rbac.UseBand("prod", "developer"),
		"bind label role=*":             rbac.BindAnyLabelValue("prod", "role"),
	}
	for line, q := range denials {
		w := strings.Fields(line)
		p, err := parsePermission(w[0], w[1], w[2], "")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.grantQuestion("prod").CanI(); got != q.CanI() {
			t.Errorf("grant %s is for %s, the denial says %s", line, got, q.CanI())
		}
	}
}

func grantedObjects(t *testing.T, r *grantRequest) *rbacObjects {
	t.Helper()
	list, err := r.manifests()
	if err != nil {
		t.Fatal(err)
	}
	o := &rbacObjects{}
	for _, object := range list {
		switch object := object.(type) {
		case *rbacv1.Role:
			o.Roles = append(o.Roles, *object)
		case *rbacv1.RoleBinding:
			o.RoleBindings = append(o.RoleBindings, *object)
		case *rbacv1.ClusterRole:
			o.ClusterRoles = append(o.ClusterRoles, *object)
		case *rbacv1.ClusterRoleBinding:
			o.ClusterRoleBindings = append(o.ClusterRoleBindings, *object)
		default:
			t.Fatalf("grant printed a %T", object)
		}
	}
	return o
}

func lists(r *whoCanReport, name string) bool {
	for _, h := range r.Holders {
		if h.Name == name {
			return true
		}
	}
	return false
}

// Grants of different permissions or to different subjects never share a name: applying one would take the other away.
func TestDefaultNamesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, p := range permissions(t) {
		for _, who := range []rbacv1.Subject{{Kind: "User", Name: "a"}, {Kind: "Group", Name: "a"}, {Kind: "ServiceAccount", Namespace: "x", Name: "a"}} {
			r := grantRequest{permissions: []permission{p}, namespace: "prod", subjects: []rbacv1.Subject{who}}
			what := r.questions()[0].String() + " " + who.String()
			if before, ok := seen[r.defaultName()]; ok && before != what {
				t.Errorf("%s names %s and %s", r.defaultName(), before, what)
			}
			if len(r.defaultName()) > 253 {
				t.Errorf("name %q is too long", r.defaultName())
			}
			seen[r.defaultName()] = what
		}
	}
}

// FuzzParseLabel: whatever is accepted is granted by grant and found by who-can.
func FuzzParseLabel(f *testing.F) {
	for _, s := range []string{"role=intern", "role=*", "a.b/*", "*", "", "=", "a=", "=a", "a=b=c", "web:role=x", "a/b/c=d", "/*", "a.b/c=*", "\x00=\xff"} {
		f.Add(s, "")
		f.Add(s, "web")
	}
	f.Fuzz(func(t *testing.T, label, account string) {
		p, err := parsePermission("use", "label", label, account)
		if err != nil {
			return
		}
		r := grantRequest{permissions: []permission{p}, namespace: "prod", subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}}}
		o := grantedObjects(t, &r)
		if !lists(whoCan(o, p, "prod"), "alice") {
			t.Errorf("%q of %q: granted and not listed", label, account)
		}
	})
}
