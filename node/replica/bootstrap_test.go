package replica

import "testing"

// Raft bootstraps in two writes. One that was cut short between them is done again.
func TestHalfBootstrap(t *testing.T) {
	n := newNode("one")
	must(t, n.log.SetUint64([]byte(termKey), 1))
	r := n.start(t)
	closeAfter(t, r)
	mustDo(t, r, 7)
	if got := listed(t, r); len(got) != 1 {
		t.Errorf("%d commands were done, not 1", len(got))
	}
}
