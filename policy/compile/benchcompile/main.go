// Command benchcompile measures the policy compiler on a world: a file with one Kubernetes object a line, gzipped or
// not. It compiles for one node from nothing, and then measures 200 events of each kind, each undone before the next. The
// time of an event is that of [compile.Compiler.Set] and [compile.Compiler.Flush], the delta for the dataplane included;
// parsing is convertMs. It prints one JSON object.
//
//	go run ./policy/compile/benchcompile -world FILE.jsonl[.gz] -node NAME
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
)

func main() {
	world := flag.String("world", "", "file with one Kubernetes object a line")
	node := flag.String("node", "node-local", "node to compile for")
	events := flag.Int("events", 200, "events of each kind")
	flag.Parse()
	if err := run(os.Stdout, *world, *node, *events); err != nil {
		fmt.Fprintln(os.Stderr, "benchcompile:", err)
		os.Exit(1) //nolint:forbidigo // this is a command, for developers
	}
}

func run(out io.Writer, file, node string, events int) error {
	runtime.GOMAXPROCS(2)
	w, err := load(file)
	if err != nil {
		return err
	}
	r, err := measure(w, node, events)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
