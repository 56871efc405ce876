package selector

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a selector under [DefaultLimits]. The error is a [*SyntaxError]
// or a [*LimitError]; no input makes it panic.
func Parse(s string) (*Selector, error) { return ParseLimits(s, DefaultLimits()) }

// ParseLimits is Parse under other limits, for instance [CalicoLimits] to
// predict what Calico itself accepts. Limits beyond what is safe to walk are
// lowered to CalicoLimits.
func ParseLimits(s string, l Limits) (*Selector, error) {
	l = l.bounded()
	if len(s) > l.Length {
		return nil, &LimitError{What: whatLength, Limit: l.Length, Offset: max(l.Length, 0)}
	}
	p := parser{text: s, maxDepth: l.Depth}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return newSelector(root), nil
}

// parser keeps open parentheses in a slice, not on the goroutine's stack, so
// nesting costs heap and is bounded by maxDepth.
type parser struct {
	text     string
	pos      int
	maxDepth int
	open     []frame
}

// frame is an expression under construction: the finished operands of ||, and
// those of the && at hand.
type frame struct {
	or, and []*Node
	negate  bool // the "(" that opened the frame follows an odd number of "!"
}

func (p *parser) parse() (*Node, error) {
	p.blanks()
	if p.end() {
		return &Node{kind: KindAll}, nil
	}
	var cur frame
	for {
		// An operand: any number of "!", which collapse, then "(" or a leaf.
		negate := false
		for p.blanks(); p.skip("!"); p.blanks() {
			negate = !negate
		}
		if p.skip("(") {
			if len(p.open) >= p.maxDepth {
				return nil, &LimitError{What: whatDepth, Limit: p.maxDepth, Offset: p.pos - 1}
			}
			p.open = append(p.open, cur)
			cur = frame{negate: negate}
			continue
		}
		n, err := p.leaf()
		if err != nil {
			return nil, err
		}
		cur.and = append(cur.and, negated(n, negate))

		// Then what joins or closes.
		for {
			p.blanks()
			switch {
			case p.skip("&&"):
			case p.skip("||"):
				cur.endAnd()
			case len(p.open) > 0 && p.skip(")"):
				n := negated(cur.node(), cur.negate)
				last := len(p.open) - 1
				cur, p.open = p.open[last], p.open[:last]
				cur.and = append(cur.and, n)
				continue
			case p.end() && len(p.open) == 0:
				return cur.node(), nil
			case len(p.open) > 0:
				return nil, p.expected(`"&&", "||" or ")"`)
			default:
				return nil, p.expected(`"&&", "||" or the end`)
			}
			break
		}
	}
}

func (f *frame) endAnd() {
	f.or = append(f.or, join(KindAnd, f.and))
	f.and = nil
}

func (f *frame) node() *Node {
	if len(f.or) == 0 {
		return join(KindAnd, f.and)
	}
	f.endAnd()
	return join(KindOr, f.or)
}

// join leaves out the operator where there is one operand only, as Calico does.
func join(k Kind, operands []*Node) *Node {
	if len(operands) == 1 {
		return operands[0]
	}
	return &Node{kind: k, operands: operands}
}

func negated(n *Node, negate bool) *Node {
	if !negate {
		return n
	}
	return &Node{kind: KindNot, operands: []*Node{n}}
}

// leaf reads has(), all(), global() or a test. The word and its parenthesis
// belong together: "has (a)" reads a label named has.
func (p *parser) leaf() (*Node, error) {
	switch {
	case p.skip("has("):
		p.blanks()
		key, err := p.key("a label key")
		if err != nil {
			return nil, err
		}
		return &Node{kind: KindHas, key: key}, p.closing("has(" + shorten(key))
	case p.skip("all("):
		return &Node{kind: KindAll}, p.closing("all(")
	case p.skip("global("):
		return &Node{kind: KindGlobal}, p.closing("global(")
	}
	key, err := p.key(`a label key, has(), all(), "!" or "("`)
	if err != nil {
		return nil, err
	}
	p.blanks()
	kind := p.operator()
	p.blanks()
	switch kind {
	case KindInvalid:
		return nil, p.expected("an operator (==, !=, in, not in, contains, starts with, ends with)")
	case KindIn, KindNotIn:
		values, err := p.set()
		return &Node{kind: kind, key: key, values: values}, err
	default:
		value, err := p.quoted()
		return &Node{kind: kind, key: key, value: value}, err
	}
}

func (p *parser) closing(after string) error {
	p.blanks()
	if !p.skip(")") {
		return p.expected(`")" after "` + after + `"`)
	}
	return nil
}

// operator reads the operator of a test; KindInvalid if there is none. No
// blank is needed behind it: the value's quote or brace ends the word.
func (p *parser) operator() Kind {
	switch {
	case p.skip("=="):
		return KindEq
	case p.skip("!="):
		return KindNe
	case p.skip("contains"):
		return KindContains
	case p.words("starts", "with"):
		return KindStartsWith
	case p.words("ends", "with"):
		return KindEndsWith
	case p.words("not", "in"):
		return KindNotIn
	case p.skip("in"):
		return KindIn
	}
	return KindInvalid
}

// words skips two words with or without blanks between them, or nothing.
func (p *parser) words(first, second string) bool {
	start := p.pos
	if p.skip(first) {
		p.blanks()
		if p.skip(second) {
			return true
		}
	}
	p.pos = start
	return false
}

func (p *parser) set() ([]string, error) {
	if !p.skip("{") {
		return nil, p.expected(`"{"`)
	}
	var values []string
	for {
		p.blanks()
		if p.skip("}") {
			break
		}
		v, err := p.quoted()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		p.blanks()
		if p.skip(",") {
			continue
		}
		if !p.skip("}") {
			return nil, p.expected(`"," or "}"`)
		}
		break
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

func (p *parser) quoted() (string, error) {
	if p.end() || p.text[p.pos] != '\'' && p.text[p.pos] != '"' {
		return "", p.expected("a value in quotes")
	}
	start := p.pos + 1
	n := strings.IndexByte(p.text[start:], p.text[p.pos])
	if n < 0 {
		return "", &SyntaxError{Offset: len(p.text), Expected: "the closing quote of " + shorten(p.text[p.pos:])}
	}
	p.pos = start + n + 1
	return p.text[start : start+n], nil
}

// key reads a label key; what says what else could stand there.
func (p *parser) key(what string) (string, error) {
	start := p.pos
	for p.pos < len(p.text) && keyByte(p.text[p.pos]) {
		p.pos++
	}
	key := p.text[start:p.pos]
	if key == "" {
		return "", p.expected(what)
	}
	if len(key) > MaxKeyLength {
		p.pos = start
		return "", p.expected(fmt.Sprintf("a label key of at most %d bytes", MaxKeyLength))
	}
	return key, nil
}

func keyByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '_' || c == '.' || c == '/' || c == '-'
}

func (p *parser) blanks() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

func (p *parser) skip(token string) bool {
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	return true
}

func (p *parser) end() bool { return p.pos == len(p.text) }

func (p *parser) expected(what string) *SyntaxError {
	return &SyntaxError{Offset: p.pos, Expected: what, Found: shorten(p.text[p.pos:])}
}
