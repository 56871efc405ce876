package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonValues calls each with every value of a JSON stream; of an array at the top, with its elements.
func jsonValues(in io.Reader, each func(n int, raw []byte, err error)) error {
	decoder := json.NewDecoder(in)
	n := 0
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			// Where a value stops being JSON, nobody can say where the next one starts.
			return fmt.Errorf("read JSON value %d: %w", n+1, err)
		}
		if raw[0] != '[' {
			n++
			each(n, raw, nil)
			continue
		}
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			return fmt.Errorf("read JSON value %d: %w", n+1, err)
		}
		for _, element := range elements {
			n++
			each(n, element, nil)
		}
	}
}
