package install

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Around installs, calls run and takes everything away again, all of it within that time, and returns the exit code of a test
// binary: run's, or 1 if the installation does not come up or leaves something. It is for a TestMain whose tests share one
// installation.
func Around(ctx context.Context, within time.Duration, o Options, run func(context.Context, *Installation) int) (code int) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	i, err := New(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	defer func() {
		if err := i.Close(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
	}()
	return run(ctx, i)
}
