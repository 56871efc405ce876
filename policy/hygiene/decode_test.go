package hygiene

import (
	"slices"
	"strings"
	"testing"
)

func TestDecodeFindsEveryFieldThatDoesNotFit(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want []string
	}{
		{name: "not JSON", in: `{`, want: []string{" Invalid"}},
		{name: "nothing", in: ``, want: []string{" Invalid"}},
		{name: "no object", in: `[]`, want: []string{" Invalid"}},
		{name: "null", in: `null`, want: []string{"apiVersion NotSupported"}},
		{name: "another API version", in: `{"apiVersion":"v1","kind":"NetworkPolicy"}`, want: []string{"apiVersion NotSupported"}},
		{name: "another kind", in: `{"apiVersion":"projectcalico.org/v3","kind":"Tier"}`, want: []string{"kind NotSupported"}},
		{name: "a status is left alone", in: strings.Replace(np(``), `"spec"`, `"status":{"conditions":[{"type":"Valid"}]},"spec"`, 1)},
		{name: "an unknown field", in: np(rule(`"action":"Allow","sourc":{}`)), want: []string{"spec.ingress[0].sourc Forbidden"}},
		{name: "a field of the wrong case", in: np(`"Selector":"all()"`), want: []string{"spec.Selector Forbidden"}},
		{name: "a field of another kind", in: np(`"namespaceSelector":"all()"`), want: []string{"spec.namespaceSelector Forbidden"}},
		{name: "a field given twice", in: np(`"selector":"a == 'b'","selector":"all()"`), want: []string{"spec.selector Forbidden"}},
		{name: "every misfit, at its place", in: np(`"order":"5","ingress":[{"action":"Allow","source":{"serviceAccounts":{"names":"api"}}},` +
			`{"action":1,"notProtocol":-1,"destination":{"ports":["80,81",70000,"9:8"],"serviceAccounts":["x"]},"metadata":{"annotations":{"k":1}}}],"types":{}`),
			want: []string{
				"spec.order Invalid", "spec.ingress[0].source.serviceAccounts.names Invalid", "spec.ingress[1].action Invalid",
				"spec.ingress[1].notProtocol Invalid", "spec.ingress[1].destination.ports[0] Invalid", "spec.ingress[1].destination.ports[1] Invalid",
				"spec.ingress[1].destination.ports[2] Invalid", "spec.ingress[1].destination.serviceAccounts Invalid",
				"spec.ingress[1].metadata.annotations[k] Invalid", "spec.types Invalid",
			}},
		{name: "metadata", in: strings.Replace(np(``), `"name":"p"`, `"name":1,"labels":{"a":2},"creationTimestamp":"x"`, 1),
			want: []string{"metadata.name Invalid", "metadata.creationTimestamp Invalid", "metadata.labels[a] Invalid"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, errs := Decode([]byte(tc.in))
			if !slices.Equal(short(errs), tc.want) {
				t.Errorf("got %q\nwant %q\n%v", short(errs), tc.want, errs.ToAggregate())
			}
			for _, e := range errs {
				if strings.Contains(e.Error(), "Go ") || strings.Contains(e.Error(), "v3.") {
					t.Errorf("%v names Go types", e)
				}
			}
			for _, sem := range []Semantics{Strict, Calico} {
				if len(tc.want) > 0 && len(Validate([]byte(tc.in), sem)) < len(tc.want) {
					t.Errorf("%v: Validate loses errors of Decode", sem)
				}
			}
		})
	}
}

// FuzzValidate: no input panics; strict semantics refuse whatever Calico's
// refuse; the answer does not depend on the run.
func FuzzValidate(f *testing.F) {
	for _, r := range corpus(f) {
		f.Add([]byte(r.Object))
	}
	for _, s := range []string{
		``, `{`, `null`, np(``), gnp(source(`"serviceAccounts":{}`)), snp(`"stagedAction":"Delete"`), sgnp(rule(`"action":null`)),
		crd("NetworkPolicy", `"name":"p","annotations":{"projectcalico.org/metadata":"{}"}`, ``), np(rule(`"protocol":"","source":{"ports":[null]}`)),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		strict, calico := Validate(raw, Strict), Validate(raw, Calico)
		if len(strict) < len(calico) {
			t.Fatalf("strict %v, calico %v", strict, calico)
		}
		if again := Validate(raw, Strict); !slices.Equal(short(again), short(strict)) {
			t.Fatalf("first %v, then %v", strict, again)
		}
		for _, c := range Causes(strict) {
			if c.Reason == "" || c.Message == "" {
				t.Fatalf("cause %+v says nothing", c)
			}
		}
	})
}
