package reach

import (
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
)

// describeGroups is the groups of each party, as one line.
func describeGroups(m []Party) string {
	var out []string
	for _, p := range m {
		var groups []string
		for _, g := range p.Groups {
			groups = append(groups, "["+g.Name+"]")
		}
		out = append(out, p.Name+" "+strings.Join(groups, " "))
	}
	return strings.Join(out, "; ")
}

func pod(name, account string, labels object, ips ...string) object {
	p := named("v1", "Pod", "a", name, labels)
	var list []object
	for _, ip := range ips {
		list = append(list, object{"ip": ip})
	}
	p["spec"] = object{"nodeName": "n", "serviceAccountName": account}
	p["status"] = object{"podIPs": list}
	return p
}

func allow(name, selector string, source object) object {
	p := named("projectcalico.org/v3", "NetworkPolicy", "a", name, nil)
	p["spec"] = object{"selector": selector, "types": []string{"Ingress"}, "ingress": []object{{"action": "Allow", "source": source}}}
	return p
}

// Pods of an account are told apart by what policies read and by nothing else, and named by the least that does.
func TestGroupsAreNamedByWhatTellsThemApart(t *testing.T) {
	cases := map[string]struct {
		objects []object
		want    string
	}{
		"labels that nobody reads": {
			objects: []object{pod("p1", "web", object{"app": "x"}, "10.0.0.1"), pod("p2", "web", object{"app": "y"}, "10.0.0.2")},
			want:    "a/web []; 0.0.0.0/0 []",
		},
		"a label that a policy reads": {
			objects: []object{pod("p1", "web", object{"app": "x", "b": "1"}, "10.0.0.1"), pod("p2", "web", object{"b": "2"}, "10.0.0.2"), allow("p", "app == 'x'", object{"selector": "all()"})},
			want:    "a/web [app=x] [!app]; 0.0.0.0/0 []",
		},
		"a label that is read and makes no difference": {
			objects: []object{pod("p1", "web", object{"app": "x"}, "10.0.0.1"), pod("p2", "web", object{"app": "y"}, "10.0.0.2"), allow("p", "has(app)", object{"selector": "has(app)"})},
			want:    "a/web []; 0.0.0.0/0 []",
		},
		"values that are treated alike": {
			objects: []object{
				pod("p1", "web", object{"app": "x"}, "10.0.0.1"), pod("p2", "web", object{"app": "y"}, "10.0.0.2"), pod("p3", "web", object{"app": "z"}, "10.0.0.3"),
				allow("p", "app in {'x', 'y'}", object{"selector": "all()"}),
			},
			want: "a/web [app=x or app=y] [app=z]; 0.0.0.0/0 []",
		},
		"two labels": {
			objects: []object{
				pod("p1", "web", object{"app": "x", "track": "s"}, "10.0.0.1"), pod("p2", "web", object{"app": "x", "track": "c"}, "10.0.0.2"), pod("p3", "web", object{"app": "y", "track": "s"}, "10.0.0.3"),
				allow("p", "app == 'x'", object{"selector": "all()"}), allow("q", "track == 'c'", object{"selector": "app == 'x'"}),
			},
			want: "a/web [app=x, track=s] [app=x, track=c] [app=y, track=s]; 0.0.0.0/0 []",
		},
		"IP versions, of which a policy speaks of one": {
			objects: []object{pod("p1", "web", nil, "10.0.0.1", "fd00::1"), allow("p", "all()", object{"nets": []string{"10.0.0.0/8"}})},
			want:    "a/web [IPv4] [IPv6]; 0.0.0.0/0, ::/0 [IPv4] [IPv6]; 10.0.0.0/8 []",
		},
		"a net that contains one of the pods": {
			objects: []object{pod("p1", "web", nil, "10.0.0.1"), pod("p2", "web", nil, "10.1.0.1"), allow("p", "all()", object{"nets": []string{"10.1.0.0/16"}})},
			want:    "a/web [in no net] [in 10.1.0.0/16]; 0.0.0.0/0 []; 10.1.0.0/16 []",
		},
		"a net of which every address is a pod's": {
			objects: []object{pod("p1", "web", nil, "10.1.0.0"), pod("p2", "db", nil, "10.1.0.1"), allow("p", "all()", object{"nets": []string{"10.1.0.0/31"}})},
			want:    "a/db []; a/web []; 0.0.0.0/0 []",
		},
		"a net without any other address than a pod's": {
			objects: []object{pod("p1", "web", nil, "10.0.0.1"), pod("p2", "db", nil, "10.1.0.1"), allow("p", "all()", object{"nets": []string{"10.1.0.1/32"}})},
			want:    "a/db []; a/web []; 0.0.0.0/0 []",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := objects{}
			o.put(named("v1", "Namespace", "", "a", nil))
			for _, v := range tc.objects {
				o.put(v)
			}
			if got := describeGroups(New(o.snapshot(t, policy.Strict)).Parties()); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
