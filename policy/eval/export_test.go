package eval

// Slack is how much an Index may hold beyond twice what is there.
const Slack = slack

// Size returns what is held.
func (x *Index) Size() (policies, sets int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.policies), len(x.sets)
}
