package offline

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	const most = 40
	in := bufio.NewReaderSize(strings.NewReader(strings.Join([]string{
		"short", "", strings.Repeat("x", most-1), strings.Repeat("y", most+30), "after\r", strings.Repeat("z", 3*most),
	}, "\n")), 16)
	wants := []struct {
		line string
		err  error
	}{
		{line: "short"}, {}, {line: strings.Repeat("x", most-1)}, {err: errLongLine}, {line: "after"}, {err: errLongLine}, {err: io.EOF},
	}
	for i, want := range wants {
		line, err := readLine(in, most)
		if string(line) != want.line || !errors.Is(err, want.err) {
			t.Errorf("line %d: got %q, %v, want %q, %v", i, line, err, want.line, want.err)
		}
	}
}

func TestReadLineReportsErrorsOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	_, err := readLine(bufio.NewReader(io.MultiReader(strings.NewReader("half a line"), failing{broken})), 100)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error and no line", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
