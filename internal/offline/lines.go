package offline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line of a stream that is read, in bytes: a scenario of about 200,000 pods.
const maxLine = 256 << 20

var errLongLine = fmt.Errorf("the line is longer than %d MiB", maxLine>>20)

// lines calls each with every line that is not blank, counted from 1, and writes what it returns as one line of JSON.
// A line that is too long is passed over, with an error for each. The output is flushed after every line, so that a
// caller may wait for each answer.
func lines(in io.Reader, out io.Writer, each func(n int, line []byte, err error) any) error {
	reader, writer := bufio.NewReaderSize(in, 1<<16), bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for n := 1; ; n++ {
		line, err := readLine(reader, maxLine)
		if err != nil && !errors.Is(err, errLongLine) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read line %d: %w", n, err)
		}
		end := errors.Is(err, io.EOF)
		if end {
			err = nil
		}
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			if err := encoder.Encode(each(n, line, err)); err != nil {
				return fmt.Errorf("write line %d: %w", n, err)
			}
			if err := writer.Flush(); err != nil {
				return fmt.Errorf("write line %d: %w", n, err)
			}
		}
		if end {
			return nil
		}
	}
}

// readLine returns the next line without its end. With io.EOF there may be a last line as well.
func readLine(in *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case long:
		case len(line)+len(part) > most:
			line, long = nil, true
		default:
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case long:
			return nil, errLongLine
		case err != nil:
			return line, io.EOF
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}
