package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	env := map[string]string{"NODE_NAME": "one", "POD_NAMESPACE": "saguard-system"}
	cases := map[string]struct {
		args []string
		env  map[string]string
		err  string // "" = accepted
	}{
		"the pod's environment is enough": {env: env},
		"node and namespace by flag":      {args: []string{"--node-name=x", "--namespace=y"}},
		"no node":                         {args: []string{"--namespace=y"}, err: "--node-name"},
		"no namespace":                    {args: []string{"--node-name=x"}, err: "--namespace"},
		"watches that last":               {args: []string{"--watch-renewal=10m"}, env: env},
		"watches that last too long":      {args: []string{"--watch-renewal=11m"}, env: env, err: "--watch-renewal"},
		"watches that last too short":     {args: []string{"--watch-renewal=14s"}, env: env, err: "--watch-renewal"},
		"a backend forced":                {args: []string{"--backend=nft"}, env: env},
		"a backend that there is not":     {args: []string{"--backend=iptables"}, env: env, err: "--backend"},
		"a dataplane vouched for":         {args: []string{"--dataplane=forward"}, env: env},
		"a dataplane that there is not":   {args: []string{"--dataplane=ebpf"}, env: env, err: "--dataplane"},
		"prefixes of pods":                {args: []string{"--pod-cidrs=10.244.0.0/16,fd00::/48"}, env: env},
		"a prefix that is none":           {args: []string{"--pod-cidrs=10.244.0.0"}, env: env, err: "--pod-cidrs"},
		"a prefix with bits behind it":    {args: []string{"--pod-cidrs=10.244.0.1/16"}, env: env, err: "10.244.0.0/16"},
		"an IPv4 prefix written as IPv6":  {args: []string{"--pod-cidrs=::ffff:10.244.0.0/112"}, env: env, err: "written as IPv6"},
		"a log level that there is not":   {args: []string{"--log-level=loud"}, env: env, err: "--log-level"},
		"no NFLOG group":                  {args: []string{"--nflog-group=0"}, env: env, err: "--nflog-group"},
		"a negative rate":                 {args: []string{"--packet-log-rate=-1"}, env: env, err: "--packet-log-rate"},
		"a burst below the rate":          {args: []string{"--kube-api-burst=1"}, env: env, err: "--kube-api-burst"},
		"no socket":                       {args: []string{"--socket="}, env: env, err: "--socket"},
		"checks on a unix socket":         {args: []string{"--authz-trust-domain=cluster.local"}, env: env},
		"checks over TCP":                 {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648", "--authz-client=spiffe://cluster.local/ns/mesh/*,proxy.example.com"}, env: env},
		"checks over TCP by JSON alone":   {args: []string{"--authz-trust-domain=cluster.local", "--authz-socket=", "--authz-json-bind-address=127.0.0.1:9649", "--authz-client=proxy.example.com"}, env: env},
		"checks over TCP, nobody may ask": {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648"}, env: env, err: "at least one SPIFFE ID or DNS name"},
		"checks by JSON, nobody may ask":  {args: []string{"--authz-trust-domain=cluster.local", "--authz-json-bind-address=:9648"}, env: env, err: "at least one SPIFFE ID or DNS name"},
		"somebody may ask on no address":  {args: []string{"--authz-trust-domain=cluster.local", "--authz-client=proxy.example.com"}, env: env, err: "nothing is served on TCP"},
		"a proxy that cannot be read":     {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648", "--authz-client=spiffe://cluster.local"}, env: env, err: "--authz-client: parse identity of a proxy"},
		"checks over TCP without domains": {args: []string{"--authz-bind-address=:9648", "--authz-client=proxy.example.com"}, env: env, err: "needs --authz-trust-domain"},
		"an address without a port":       {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=127.0.0.1", "--authz-client=proxy.example.com"}, env: env, err: "--authz-bind-address: address 127.0.0.1"},
		"a port that nobody would know":   {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:0", "--authz-client=proxy.example.com"}, env: env, err: "want a port"},
		"a port by name":                  {args: []string{"--authz-trust-domain=cluster.local", "--authz-json-bind-address=:https", "--authz-client=proxy.example.com"}, env: env, err: "--authz-json-bind-address"},
		"both protocols on one address":   {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648", "--authz-json-bind-address=:9648", "--authz-client=proxy.example.com"}, env: env, err: "both are :9648"},
		"no folder of certificates":       {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648", "--authz-client=proxy.example.com", "--authz-cert-dir="}, env: env, err: "--authz-cert-dir"},
		"an authority of another folder":  {args: []string{"--authz-trust-domain=cluster.local", "--authz-bind-address=:9648", "--authz-client=proxy.example.com", "--authz-client-ca-name=../ca.crt"}, env: env, err: "--authz-client-ca-name"},
		"no records of refusals":          {args: []string{"--authz-record-rate=0"}, env: env, err: "--authz-record-rate"},
		"a flag that there is not":        {args: []string{"--fail-open"}, env: env, err: "fail-open"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := &options{}
			fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
			o.add(fs, func(k string) string { return tc.env[k] })
			err := fs.Parse(tc.args)
			if err == nil {
				err = o.complete()
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
		})
	}
}

func TestForcedBackendLeavesTheOthersToBeRemoved(t *testing.T) {
	for backend, want := range map[string][2]int{backendAuto: {2, 0}, backendBPF: {1, 1}, backendNFT: {1, 1}} {
		use, others := (&options{backend: backend}).candidates()
		if len(use) != want[0] || len(others) != want[1] {
			t.Errorf("%s: %d to use, %d others", backend, len(use), len(others))
		}
		if backend != backendAuto && use[0].Name != backend {
			t.Errorf("%s: uses %s", backend, use[0].Name)
		}
	}
}

func TestCommandsWithoutAnAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for name, tc := range map[string]struct {
		args []string
		want string // in the output or the error
		ok   bool
	}{
		"help":                   {args: []string{"--help"}, want: "cleanup", ok: true},
		"version":                {args: []string{"--version"}, want: version, ok: true},
		"help of run":            {args: []string{"run", "--help"}, want: "--pod-cidrs", ok: true},
		"run with an argument":   {args: []string{"run", "x"}, want: "x"},
		"run without a node":     {args: []string{"run"}, want: "--node-name"},
		"status":                 {args: []string{"status", "--socket", socket}, want: "ask the agent"},
		"explain":                {args: []string{"explain", "--socket", socket, "--from", "a/b", "--to", "a/c", "--port", "80"}, want: "ask the agent"},
		"explain without ends":   {args: []string{"explain"}, want: "from"},
		"a command there is not": {args: []string{"start"}, want: "start"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			root := newRoot(func(string) string { return "" })
			root.SetArgs(tc.args)
			root.SetOut(&out)
			root.SetErr(&out)
			err := root.ExecuteContext(t.Context())
			text := out.String()
			if err != nil {
				text += err.Error()
			}
			if (err == nil) != tc.ok || !strings.Contains(text, tc.want) {
				t.Errorf("%v\n%s\nwant %q", err, text, tc.want)
			}
		})
	}
}
