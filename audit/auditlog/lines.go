package auditlog

import (
	"bufio"
	"errors"
	"io"
)

// ending says how a line ended.
type ending uint8

const (
	complete   ending = iota
	incomplete        // the log ends before the line does
	oversize
)

// counter counts the bytes read through it.
type counter struct {
	in io.Reader
	n  int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// lines splits a log. A line is valid until the next.
type lines struct {
	from *counter
	in   *bufio.Reader
	long []byte // a line that is longer than the buffer of in
}

func newLines(in io.Reader) *lines {
	from := &counter{in: in}
	return &lines{from: from, in: bufio.NewReaderSize(from, 1<<20)}
}

// next returns the next line with its end, or io.EOF.
func (l *lines) next() ([]byte, ending, error) {
	if cap(l.long) > 4<<20 {
		l.long = nil // one huge line must not cost its memory for ever
	}
	l.long = l.long[:0]
	skipped := false
	for {
		part, err := l.in.ReadSlice('\n')
		switch {
		case err == nil && skipped:
			return nil, oversize, nil
		case err == nil && len(l.long) == 0:
			return part, complete, nil
		case err == nil && len(l.long)+len(part) <= MaxLine:
			return append(l.long, part...), complete, nil
		case err == nil:
			return nil, oversize, nil
		case errors.Is(err, io.EOF) && skipped:
			return nil, oversize, nil
		case errors.Is(err, io.EOF) && len(l.long)+len(part) == 0:
			return nil, complete, io.EOF
		case errors.Is(err, io.EOF):
			return append(l.long, part...), incomplete, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, complete, err
		case len(l.long)+len(part) > MaxLine:
			skipped, l.long = true, l.long[:0]
		case !skipped:
			l.long = append(l.long, part...)
		}
	}
}
