package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	cases := map[string]struct {
		args []string
		env  map[string]string
		err  string // "" = accepted
	}{
		"the pod's environment is enough":    {env: map[string]string{"POD_NAMESPACE": "saguard-system"}},
		"the namespace by flag":              {args: []string{"--namespace=x"}},
		"no namespace":                       {err: "--namespace"},
		"another authorization":              {args: []string{"--namespace=x", "--authorization=SubjectAccessReview"}},
		"an authorization that there is not": {args: []string{"--namespace=x", "--authorization=ABAC"}, err: "--authorization"},
		"denials remembered for longest":     {args: []string{"--namespace=x", "--authorization-deny-ttl=5s"}},
		"denials remembered for longer":      {args: []string{"--namespace=x", "--authorization-deny-ttl=6s"}, err: "--authorization-deny-ttl"},
		"a negative time":                    {args: []string{"--namespace=x", "--authorization-deny-ttl=-1s"}, err: "--authorization-deny-ttl"},
		"an address without port":            {args: []string{"--namespace=x", "--bind-address=localhost"}, err: "--bind-address"},
		"a port that is none":                {args: []string{"--namespace=x", "--bind-address=:70000"}, err: "--bind-address"},
		"a burst below the rate":             {args: []string{"--namespace=x", "--kube-api-burst=1"}, err: "--kube-api-burst"},
		"a certificate of its own":           {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=a.b.svc,10.0.0.7"}},
		"one for addresses only":             {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=10.0.0.7"}, err: "--certificate-name"},
		"one for no name":                    {args: []string{"--namespace=x", "--certificate-secret=s"}, err: "--certificate-name"},
		"one for a name that is none":        {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=a_b"}, err: "--certificate-name"},
		"one renewed after its end":          {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=a", "--certificate-validity=1h"}, err: "--certificate-validity"},
		"one renewed while others settle":    {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=a", "--certificate-settle=360h1m"}, err: "--certificate-settle"},
		"one that is never looked at":        {args: []string{"--namespace=x", "--certificate-period=0s"}, err: "--certificate-period"},
		"clients of a CA":                    {args: []string{"--namespace=x", "--client-ca-file=f", "--client-name=kube-apiserver"}},
		"clients of a CA in --cert-dir":      {args: []string{"--namespace=x", "--client-ca-name=f", "--client-name=kube-apiserver"}},
		"clients of no CA":                   {args: []string{"--namespace=x", "--client-name=kube-apiserver"}, err: "--client-name"},
		"clients of two CAs":                 {args: []string{"--namespace=x", "--client-ca-file=f", "--client-ca-name=f"}, err: "--client-ca-file"},
		"a client CA beside no certificate":  {args: []string{"--namespace=x", "--certificate-secret=s", "--certificate-name=a", "--client-ca-name=f"}, err: "--client-ca-name"},
		"no background scan":                 {args: []string{"--namespace=x", "--scan-interval=0"}},
		"a scan without end":                 {args: []string{"--namespace=x", "--scan-interval=10ms"}, err: "--scan-interval"},
		"a scan of a negative interval":      {args: []string{"--namespace=x", "--scan-interval=-1h"}, err: "--scan-interval"},
		"an argument that is no flag":        {args: []string{"--namespace=x", "serve"}, err: "serve"},
		"a flag that there is not":           {args: []string{"--fail-open"}, err: "fail-open"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o, err := parse(tc.args, func(k string) string { return tc.env[k] }, &bytes.Buffer{})
			if tc.err == "" {
				if err != nil || o == nil || o.namespace == "" || o.identity == "" || o.port != 10250 {
					t.Errorf("%+v, %v", o, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || o != nil {
				t.Errorf("%+v, %v, want an error about %s", o, err, tc.err)
			}
		})
	}
	var out bytes.Buffer
	if o, err := parse([]string{"--help"}, func(string) string { return "" }, &out); o != nil || err != nil || !strings.Contains(out.String(), "--authorization") {
		t.Errorf("help: %+v, %v, %s", o, err, out.String())
	}
}
