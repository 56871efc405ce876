package compile

// bits is a set of slot numbers.
type bits []uint64

func (b bits) has(slot int) bool {
	word := slot >> 6
	return word < len(b) && b[word]&(1<<(slot&63)) != 0
}

func (b bits) word(n int) uint64 {
	if n < len(b) {
		return b[n]
	}
	return 0
}

func (b bits) empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

func (b *bits) put(slot int, in bool) {
	word := slot >> 6
	if !in {
		if word < len(*b) {
			(*b)[word] &^= 1 << (slot & 63)
		}
		return
	}
	if word >= len(*b) {
		grown := make(bits, word+1)
		copy(grown, *b)
		*b = grown
	}
	(*b)[word] |= 1 << (slot & 63)
}
