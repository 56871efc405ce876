// Command reference writes the pages of docs/reference from the code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/saguard/saguard/e2e/reference"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := write(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context) error {
	root := flag.String("root", "..", "Root of the repository; by default the folder above, for go -C e2e run.")
	flag.Parse()
	pages, err := reference.Pages(ctx, *root)
	if err != nil {
		return errors.Join(errors.New("nothing is written"), err)
	}
	return reference.Write(*root, pages)
}
