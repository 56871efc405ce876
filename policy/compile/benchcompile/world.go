package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/saguard/saguard/policy"
)

// world is decoded objects, all of them and by kind.
type world struct {
	objects    []policy.Object
	pods       []*corev1.Pod
	accounts   []*corev1.ServiceAccount
	namespaces []*corev1.Namespace
	policies   []policy.Object // Calico's
}

func load(file string) (*world, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load world: %w", err)
	}
	var in io.Reader = bytes.NewReader(content)
	if strings.HasSuffix(file, ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			return nil, fmt.Errorf("load world %s: %w", file, err)
		}
	}
	w := &world{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		o, err := policy.Decode(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("load world %s, line %d: %w", file, n, err)
		}
		w.add(o)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("load world %s: %w", file, err)
	}
	if len(w.pods)*len(w.accounts)*len(w.namespaces)*len(w.policies) == 0 {
		return nil, fmt.Errorf("load world %s: want pods, service accounts, namespaces and Calico policies", file)
	}
	return w, nil
}

func (w *world) add(o policy.Object) {
	w.objects = append(w.objects, o)
	switch v := o.Value.(type) {
	case *corev1.Pod:
		w.pods = append(w.pods, v)
	case *corev1.ServiceAccount:
		w.accounts = append(w.accounts, v)
	case *corev1.Namespace:
		w.namespaces = append(w.namespaces, v)
	case *v3.NetworkPolicy, *v3.GlobalNetworkPolicy:
		w.policies = append(w.policies, o)
	}
}

// convert parses everything anew.
func (w *world) convert() []policy.Resource {
	out := make([]policy.Resource, 0, len(w.objects))
	for _, o := range w.objects {
		if r, _ := policy.Parse(o, policy.Strict); r != nil {
			out = append(out, r)
		}
	}
	return out
}
