package node

import (
	"context"
	"io"
	"sync"

	"github.com/carecircle/carecircle/node/metrics"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
)

// stateBox is the state on disk, which a restore replaces as a whole.
type stateBox struct {
	*store.State
	config  store.StateConfig
	metrics *metrics.Metrics
	mu      sync.Mutex // held while the state is replaced, flushed or closed, or a check of it begins

	stopCheck func()        // ends the newest check of the whole state
	checked   chan struct{} // closed when that has ended; nil: there was none
}

// Snapshot implements replica.State.
func (b *stateBox) Snapshot() (replica.Snap, error) {
	return timedSnapshot(b.State.Snapshot, b.metrics, b.config.Dir)
}

// Flush writes what is in memory to disk.
func (b *stateBox) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.State.Flush()
}

// verify reads all of the state on disk. It ends early where a restore replaces the state.
func (b *stateBox) verify(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	b.mu.Lock()
	state := b.State
	b.stopCheck, b.checked = cancel, done
	b.mu.Unlock()
	return state.Verify(ctx, diskRate)
}

func (b *stateBox) restore(r io.Reader) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.checked != nil { // it keeps the old state open
		b.stopCheck()
		<-b.checked
	}
	if err := b.Close(); err != nil {
		return err
	}
	if err := store.Restore(b.config, store.RoomWhile(r, b.config.Dir)); err != nil {
		return err
	}
	state, err := store.OpenState(b.config)
	if err != nil {
		return err
	}
	b.State = state
	return nil
}
