package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// pollEvery is how often a followed file is looked at.
const pollEvery = 200 * time.Millisecond

// Follow opens a file that is being written and reads on as it grows, until ctx ends: then it is at its end (io.EOF). When the
// file is rotated, it reads the old one to its end and goes on with the new one.
func Follow(ctx context.Context, name string) (*Log, error) {
	f, err := os.Open(name) //nolint:gosec // the file that the user names
	if err != nil {
		return nil, err
	}
	t := &tail{ctx: ctx, name: name, file: f}
	counted := &counter{in: t}
	return &Log{Name: name, read: counted, Reader: counted, closers: []func() error{func() error { return t.file.Close() }}}, nil
}

type tail struct {
	ctx  context.Context //nolint:containedctx // io.Reader has no context; the tail lives as long as its log
	name string
	file *os.File
	read int64 // of file
}

// Read implements io.Reader. It never returns 0 bytes without an error.
func (t *tail) Read(p []byte) (int, error) {
	for {
		n, err := t.file.Read(p)
		t.read += int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		next, err := t.rotated()
		if err != nil {
			return 0, err
		}
		if next != nil {
			// What was written between our last read and the rotation is still there to be read.
			if n, err := t.file.Read(p); n > 0 {
				t.read += int64(n)
				return n, errors.Join(next.Close())
			} else if err != nil && !errors.Is(err, io.EOF) {
				return 0, errors.Join(err, next.Close())
			}
			if err := t.file.Close(); err != nil {
				return 0, errors.Join(err, next.Close())
			}
			t.file, t.read = next, 0
			continue
		}
		select {
		case <-t.ctx.Done():
			return 0, io.EOF
		case <-time.After(pollEvery):
		}
	}
}

// rotated returns the file that took the place of the one being read, nil if none did.
func (t *tail) rotated() (*os.File, error) {
	have, err := t.file.Stat()
	if err != nil {
		return nil, err
	}
	if have.Size() < t.read {
		return nil, fmt.Errorf("%s was cut short while it was read: what was written meanwhile may be lost", t.name)
	}
	now, err := os.Stat(t.name)
	if err != nil || os.SameFile(have, now) {
		return nil, nil //nolint:nilnil,nilerr // between two names; it is looked at again
	}
	next, err := os.Open(t.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // as above
	}
	return next, err
}
