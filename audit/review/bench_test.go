package review_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/saguard/saguard/audit/auditlog"
	"github.com/saguard/saguard/audit/review"
)

// writeLog writes an audit log as an API server does, of which one event in a hundred is about service accounts.
func writeLog(b *testing.B, path string, size int64) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	w := bufio.NewWriterSize(f, 1<<20)
	const tail = `"sourceIPs":["192.0.2.7"],"userAgent":"kubelet/v1.36.3 (linux/amd64) kubernetes/abcdef0","objectRef":{"resource":%q,"namespace":"prod","name":"n-%d","uid":"0c8f9a52-0000-4000-8000-000000000000","apiVersion":"v1","resourceVersion":"123456"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-22T10:%02d:%02d.%06dZ","stageTimestamp":"2026-11-22T10:00:00.000000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"x\" of ClusterRole \"y\" to Group \"z\""%s}}` + "\n"
	const decided = `,"serviceaccounts.validate.saguard.io/checks":"[{\"id\":\"label-use\",\"reason\":\"granted\",\"mode\":\"Enforce\",\"field\":\"metadata.labels[role]\"}]","serviceaccounts.validate.saguard.io/decision":"Allow","serviceaccounts.validate.saguard.io/label-diff":"[{\"key\":\"role\",\"old\":\"a\",\"new\":\"b\"}]","serviceaccounts.validate.saguard.io/mode":"Enforce","serviceaccounts.validate.saguard.io/reason":"granted","serviceaccounts.validate.saguard.io/schema":"saguard.io/decision/v1","serviceaccounts.validate.saguard.io/tuples":"[{\"verb\":\"use\",\"resource\":\"serviceaccounts/labels\",\"name\":\"role=a\",\"namespace\":\"prod\",\"allowed\":true}]"`
	resources := []string{"pods", "leases", "configmaps", "endpointslices", "nodes", "events"}
	verbs := []string{"get", "list", "watch", "update", "patch"}
	for n, written := 0, int64(0); written < size; n++ {
		resource, verb, more := resources[n%len(resources)], verbs[n%len(verbs)], ""
		if n%100 == 0 {
			resource, verb, more = "serviceaccounts", "patch", decided
		} else if resource == "pods" && verb != "get" {
			verb = "list"
		}
		k, err := fmt.Fprintf(w, `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"%08x-0000-4000-8000-%012x","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/prod/%s/n-%d?timeout=10s","verb":%q,"user":{"username":"system:node:n%d","groups":["system:nodes","system:authenticated"]},`+tail,
			n, n, resource, n, verb, n%100, resource, n, n/60000%60, n/1000%60, n%1000*1000, more)
		if err != nil {
			b.Fatal(err)
		}
		written += int64(k)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReview reads a log of which 1 % matters; its baseline is jq -c 'select(.objectRef.resource=="serviceaccounts")' on the
// same file.
func BenchmarkReview(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "audit.log")
	writeLog(b, path, size)
	var ours time.Duration
	for b.Loop() {
		start := time.Now()
		l, err := auditlog.Open(path, nil)
		if err != nil {
			b.Fatal(err)
		}
		r := auditlog.NewReader(auditlog.Guarded())
		builder := review.New(review.Options{})
		if err := r.Read(b.Context(), path, l, func(e *auditlog.Entry) error { builder.Add(e); return nil }); err != nil {
			b.Fatal(err)
		}
		if out := builder.Review(r.Stats()); len(out.LabelChanges) < 1000 {
			b.Fatalf("only %d label changes", len(out.LabelChanges))
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
	}
	each := ours / time.Duration(b.N)
	b.ReportMetric(float64(size)/(1<<20)/each.Seconds(), "MB/s")
	jq, err := exec.LookPath("jq")
	if err != nil {
		b.Logf("no ratio: %v", err)
		return
	}
	start := time.Now()
	c := exec.CommandContext(b.Context(), jq, "-c", `select(.objectRef.resource=="serviceaccounts")`, path)
	c.Stdout = io.Discard
	if err := c.Run(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds()/each.Seconds(), "times-jq")
}
