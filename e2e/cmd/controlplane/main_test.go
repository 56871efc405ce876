package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

func TestWrongArgumentsAreRefusedBeforeAnythingRuns(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want error
	}{
		{name: "none", want: errUsage},
		{name: "an unknown command", args: []string{"down"}, want: errUsage},
		{name: "an argument to build", args: []string{"build", "etcd"}, want: errUsage},
		{name: "an argument to up", args: []string{"up", "now"}, want: errUsage},
		{name: "a request for help", args: []string{"up", "-h"}, want: flag.ErrHelp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), tc.args, &out, io.Discard); !errors.Is(err, tc.want) {
				t.Errorf("run %q: %v, want %v", tc.args, err, tc.want)
			}
			if out.Len() > 0 {
				t.Errorf("standard output: %q, want none", out.String())
			}
		})
	}
}

func TestUpPrintsAKubeconfigAndLeavesNothingWhenInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	kubeconfig := ""
	onLine := writerFunc(func(p []byte) (int, error) {
		kubeconfig = strings.TrimSpace(string(p))
		if raw, err := os.ReadFile(kubeconfig); err != nil || !bytes.Contains(raw, []byte("client-certificate-data")) {
			t.Errorf("%q is no kubeconfig: %v", kubeconfig, err)
		}
		interrupt()
		return len(p), nil
	})
	if err := run(ctx, []string{"up", "-controller-manager=false"}, onLine, os.Stderr); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(kubeconfig); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is left: %v", kubeconfig, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
