package auditlog

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Stdin is the name of standard input.
const Stdin = "-"

// Log is one open log, decompressed.
type Log struct {
	Name string
	// Size is that of the file in bytes, compressed if it is; 0 if it is not known.
	Size int64
	read *counter
	io.Reader
	closers []func() error
}

// Open opens a log by name. What gzip or zstd wrote is known by its first bytes, not by its name.
func Open(name string, stdin io.Reader) (*Log, error) {
	l := &Log{Name: name}
	in := stdin
	if name != Stdin {
		f, err := os.Open(name) //nolint:gosec // the file that the user names
		if err != nil {
			return nil, err
		}
		l.closers = append(l.closers, f.Close)
		in = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			l.Size = info.Size()
		}
	}
	l.read = &counter{in: in}
	if err := l.decompress(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", name, err), l.Close())
	}
	return l, nil
}

func (l *Log) decompress() error {
	buffered := bufio.NewReaderSize(l.read, 256<<10)
	l.Reader = buffered
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		l.Reader = z
		l.closers = append(l.closers, z.Close)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxMemory(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		l.Reader = z
		l.closers = append(l.closers, func() error { z.Close(); return nil })
	}
	return nil
}

// Offset is how many bytes of the file were read, compressed if it is; it says how far a read has come towards Size. It may
// only be called by the goroutine that reads.
func (l *Log) Offset() int64 { return l.read.n }

// Close closes the file.
func (l *Log) Close() error {
	var errs []error
	for _, c := range slices.Backward(l.closers) {
		errs = append(errs, c())
	}
	l.closers = nil
	return errors.Join(errs...)
}

// InOrder sorts rotated files by the time of their first event, so that a history is told in its order however a shell has
// sorted the names. Files without an event, and standard input, come last, in the order given.
func InOrder(ctx context.Context, names []string) ([]string, error) {
	type dated struct {
		name  string
		first time.Time
	}
	files := make([]dated, len(names))
	for i, name := range names {
		files[i].name = name
		if name == Stdin {
			continue
		}
		first, err := firstTime(ctx, name)
		if err != nil {
			return nil, err
		}
		files[i].first = first
	}
	slices.SortStableFunc(files, func(a, b dated) int {
		if a.first.IsZero() || b.first.IsZero() {
			return cmp.Compare(boolInt(a.first.IsZero()), boolInt(b.first.IsZero()))
		}
		return a.first.Compare(b.first)
	})
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.name
	}
	return out, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// firstLines is how far InOrder looks for the first event, in bytes.
const firstLines = 4 << 20

func firstTime(ctx context.Context, name string) (time.Time, error) {
	l, err := Open(name, nil)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = l.Close() }() //nolint:errcheck // only read
	in := newLines(io.LimitReader(l, firstLines))
	for ctx.Err() == nil {
		line, how, err := in.next()
		if err != nil {
			return time.Time{}, nil //nolint:nilerr // no event, or one that cannot be read: Read says so
		}
		if how != complete {
			continue
		}
		for _, key := range []string{`"requestReceivedTimestamp":"`, `"time":"`} {
			if text, ok := stringField(line, key); ok {
				if t, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
					return t, nil
				}
			}
		}
	}
	return time.Time{}, context.Cause(ctx)
}
