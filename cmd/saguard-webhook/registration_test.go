package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestCommandsBesideServing(t *testing.T) {
	cases := map[string]struct {
		args    []string
		err     string // "" = accepted
		timeout time.Duration
	}{
		"verify":                     {args: []string{"verify"}, timeout: time.Minute},
		"unregister within a time":   {args: []string{"unregister", "--timeout=10s"}, timeout: 10 * time.Second},
		"no time":                    {args: []string{"verify", "--timeout=0s"}, err: "--timeout"},
		"an argument that is none":   {args: []string{"unregister", "all"}, err: "all"},
		"a flag of the server":       {args: []string{"verify", "--cert-dir=/x"}, err: "cert-dir"},
		"a flag that there is not":   {args: []string{"unregister", "--force"}, err: "force"},
		"a time that is a plain one": {args: []string{"verify", "--timeout=5"}, err: "--timeout"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !isRegistration(tc.args) {
				t.Fatal("taken for the server's flags")
			}
			o, err := parseRegistration(tc.args, &bytes.Buffer{})
			if tc.err == "" {
				if err != nil || o == nil || o.command != tc.args[0] || o.timeout != tc.timeout {
					t.Errorf("%+v, %v", o, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || o != nil {
				t.Errorf("%+v, %v, want an error about %s", o, err, tc.err)
			}
		})
	}
	for _, args := range [][]string{nil, {}, {"--namespace=x"}, {"--namespace=x", "verify"}, {"Verify"}, {"serve"}} {
		if isRegistration(args) {
			t.Errorf("%q: not the server's flags", args)
		}
	}
	var out bytes.Buffer
	if o, err := parseRegistration([]string{"verify", "--help"}, &out); o != nil || err != nil || !strings.Contains(out.String(), "--timeout") {
		t.Errorf("help: %+v, %v, %s", o, err, out.String())
	}
}
