package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const dir = "../../../../charts/saguard"

func TestRunPrintsTheManifestsOfTheGivenValues(t *testing.T) {
	temp := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(temp, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := file("first.yaml", "webhook: {replicas: 3, timeoutSeconds: 7}\n")
	second := file("second.yaml", "webhook: {replicas: 4}\n")
	ca := file("ca.pem", "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n")

	var out, messages bytes.Buffer
	err := run([]string{"--chart", dir, "--namespace", "elsewhere", "-f", first, "-f", second, "--notes",
		"--set", "certificates.source=secret,certificates.secretName=ours", "--set-file", "webhook.caBundle=" + ca}, &out, &messages)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"replicas: 4\n", "timeoutSeconds: 7\n", "secretName: ours\n", "namespace: elsewhere\n", "caBundle: LS0tLS1CRUdJTi"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the manifests do not contain %q", want)
		}
	}
	if !strings.Contains(messages.String(), "Nothing is enforced until") || strings.Contains(out.String(), "Nothing is enforced") {
		t.Error("the notes are not on standard error alone")
	}
}

func TestRunRefuses(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"values that the schema refuses": {[]string{"--chart", dir, "--set", "webhook.replica=1"}, "replica"},
		"a missing chart":                {[]string{"--chart", t.TempDir()}, "load chart"},
		"a missing file of values":       {[]string{"--chart", dir, "-f", "none.yaml"}, "none.yaml"},
		"an argument that is no flag":    {[]string{"--chart", dir, "replicas=1"}, `unexpected argument "replicas=1"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out, messages bytes.Buffer
			err := run(test.args, &out, &messages)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if out.Len() > 0 {
				t.Error("manifests were printed all the same")
			}
		})
	}
}
