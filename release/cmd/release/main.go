// Command release makes and verifies what is published of one commit; `make release` calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/saguard/saguard/release"
)

const usage = `usage:
  release make   [flags] OUT   build the release of a commit into the folder OUT
  release verify DIR           check that a release agrees with itself
  release same   DIR DIR       check that two releases are the same, byte for byte`

var errUsage = errors.New(usage)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch command, args := args[0], args[1:]; {
	case command == "make":
		return makeRelease(ctx, args, getenv, out)
	case command == "verify" && len(args) == 1:
		return release.Verify(args[0], release.Programs())
	case command == "same" && len(args) == 2:
		return release.Same(args[0], args[1])
	default:
		return errUsage
	}
}

func makeRelease(ctx context.Context, args []string, getenv func(string) string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("release make", flag.ContinueOnError)
	repo := flags.String("repo", ".", "Git repository.")
	revision := flags.String("revision", "HEAD", "commit or tag that is released; what is not committed is not built.")
	version := flags.String("version", "", "semantic version with a leading v; by default the commit's tag, or a version made up of its time and hash.")
	url := flags.String("download-url", "", "URL of the folder with the archives, for the krew manifest.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errUsage
	}
	folder, err := filepath.Abs(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	dir, err := os.MkdirTemp("", "saguard-source-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, err := release.Export(ctx, *repo, *revision, *version, dir)
	if err != nil {
		return err
	}
	// reproducible-builds.org/specs/source-date-epoch
	if epoch := getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		source.Time = time.Unix(seconds, 0).UTC()
	}
	progress := log.New(out, "", log.Ltime)
	if err := release.Make(ctx, source, folder, release.Options{DownloadURL: *url, Progress: func(what string) { progress.Print(what) }}); err != nil {
		return err
	}
	progress.Print("verify")
	if err := release.Verify(folder, release.Programs()); err != nil {
		return err
	}
	progress.Print(source.Version + " of commit " + source.Commit + " is in " + folder)
	return nil
}
