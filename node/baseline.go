package node

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
)

// What Options.Baseline may name: the same node with one part done the plain way.
const (
	BaselineBolt   = "bbolt"  // raft's log in bbolt
	BaselineMemory = "memory" // the state in memory only; the log as ever
)

var errBaseline = errors.New("a baseline of the bench keeps no snapshots: measure for a shorter time")

// openBaseline has the replica run on what a bench compares with, and returns what is to be closed at the
// end. The node's own stores stay open beside it, empty.
func (n *Node) openBaseline(c *replica.Config) (io.Closer, error) {
	switch n.options.Baseline {
	case "":
		return nil, nil
	case BaselineBolt:
		log, err := store.OpenBoltLog(filepath.Join(n.Dir, logDir))
		if err != nil {
			return nil, err
		}
		c.Log = log
		return log, nil
	case BaselineMemory:
		c.State = memoryState{store.NewMemory()}
		c.Restore = func(io.Reader) error { return errBaseline }
		return nil, nil
	default:
		return nil, fmt.Errorf("there is no baseline %q: %s and %s are", n.options.Baseline, BaselineBolt,
			BaselineMemory)
	}
}

// memoryState is a state in memory for a replica.
type memoryState struct{ *store.Memory }

// Sum implements replica.State.
func (memoryState) Sum() (rows, sum uint64, err error) { return 0, 0, errBaseline }

// Snapshot implements replica.State.
func (memoryState) Snapshot() (replica.Snap, error) { return nil, errBaseline }
