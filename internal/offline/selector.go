package offline

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// selectorAnswer is a line of `selector --jsonl`.
type selectorAnswer struct {
	Valid      bool   `json:"valid"`
	Normalized string `json:"normalized"`
	Error      string `json:"error"`
	Matches    []bool `json:"matches"`
}

// SelectorLines answers `selector --jsonl`: {"selector","labels":[{},..]} in, {"valid","normalized","error","matches"}
// out, matches in the order of labels and empty for an invalid selector. Strict semantics bound length and depth. The
// error is of reading or writing.
func SelectorLines(in io.Reader, out io.Writer, sem policy.Semantics) error {
	limits := selector.DefaultLimits()
	if sem == policy.Calico {
		limits = selector.CalicoLimits()
	}
	return lines(in, out, func(n int, line []byte, err error) any {
		var query struct {
			Selector *string             `json:"selector"`
			Labels   []map[string]string `json:"labels"`
		}
		if err == nil {
			err = json.Unmarshal(line, &query)
		}
		if err == nil && query.Selector == nil {
			err = fmt.Errorf("selector is required")
		}
		a := selectorAnswer{Matches: []bool{}}
		if err != nil {
			a.Error = fmt.Sprintf("read line %d: %v", n, err)
			return a
		}
		s, err := selector.ParseLimits(*query.Selector, limits)
		if err != nil {
			a.Error = err.Error()
			return a
		}
		a.Valid, a.Normalized = true, s.String()
		for _, labels := range query.Labels {
			a.Matches = append(a.Matches, s.Matches(selector.Map(labels)))
		}
		return a
	})
}
