// Command schema writes the comments of a chart's values.yaml into its values.schema.json; see chart.DescribeSchema.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/saguard/saguard/e2e/chart"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments: want the chart's folder", len(args))
	}
	values, err := os.ReadFile(filepath.Join(args[0], "values.yaml"))
	if err != nil {
		return fmt.Errorf("read values: %w", err)
	}
	file := filepath.Join(args[0], "values.schema.json")
	schema, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	described, err := chart.DescribeSchema(values, schema)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, described, 0o644); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return nil
}
