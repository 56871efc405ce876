package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const smallWorld = "../testdata/world-1000-500-100-100.jsonl.gz"

func TestReportHasEveryNumber(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, smallWorld, "node-local", 20); err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"convertMs", "fromNothingMs", "heapMB", "allocMB"} {
		if n, ok := report[key].(float64); !ok || n <= 0 {
			t.Errorf("%s is %v, want a number", key, report[key])
		}
	}
	for kind := range makers() {
		times, ok := report[kind].(map[string]any)
		for _, key := range []string{"medianUs", "meanUs", "p99Us"} {
			if n, isNumber := times[key].(float64); !ok || !isNumber || n <= 0 {
				t.Errorf("%s %s is %v, want a number", kind, key, times[key])
			}
		}
	}
	if n := report["identities"]; n != 447.0 {
		t.Errorf("identities %v, want 447: one for each account that pods wear, and the addresses outside", n)
	}
}

func TestUnreadableWorlds(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cases := map[string]struct{ file, want string }{
		"no file":             {file: filepath.Join(dir, "none"), want: "load world"},
		"not gzip":            {file: write("a.gz", "not compressed"), want: "gzip"},
		"not JSON":            {file: write("b", "{"), want: "line 1"},
		"nothing to measure":  {file: write("c", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}`), want: "want pods"},
		"an object not known": {file: write("d", "\n"+`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`), want: "line 2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := run(&bytes.Buffer{}, tc.file, "node-local", 1); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
