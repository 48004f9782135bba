package replica

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Snapshot takes a snapshot now. With nothing new since the last one it does nothing.
func (r *Replica) Snapshot() error {
	err := r.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("snapshot of replica %s: %w", r.cfg.ID, r.explain(err))
	}
	return nil
}

// snapshotByAge keeps the log of a circle short in which too little happens for raft's own threshold.
func (r *Replica) snapshotByAge() {
	tick := time.NewTicker(snapshotAgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.stopped:
			return
		}
		s := r.Status()
		if s.Applied <= s.SnapshotIndex || r.cfg.Now().Sub(s.SnapshotAt) < snapshotAge {
			continue
		}
		if err := r.Snapshot(); err != nil && !errors.Is(err, ErrStopped) {
			r.log.Warn("no daily snapshot, trying again in an hour", "error", err)
		}
	}
}

// catchUp makes sure that the state is at least as new as the newest snapshot, since raft will only apply
// what comes after that one, and that no entry is missing in between. It returns the snapshot's index.
func (r *Replica) catchUp() (uint64, error) {
	metas, err := r.snaps.List()
	if err != nil {
		return 0, fmt.Errorf("list the snapshots: %w", err)
	}
	first, err := r.disk.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("read the log: %w", err)
	}
	last, err := r.disk.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read the log: %w", err)
	}
	var newest uint64
	if len(metas) > 0 {
		newest = metas[0].Index
		r.snapshotAt.Store(takenAt(metas[0].ID))
	}
	applied := r.cfg.State.Applied()
	switch {
	case first > newest+1:
		return 0, fmt.Errorf("log entries %d to %d are missing: put the snapshot directory back, or restore"+
			" a backup", newest+1, first-1)
	case applied > max(last, newest):
		return 0, fmt.Errorf("the state holds log entry %d, the log ends at %d: they are not of one time,"+
			" put back those that belong together, or restore a backup", applied, max(last, newest))
	case applied >= newest:
		return newest, nil
	}
	return newest, r.restoreOwn(metas[0])
}

// restoreOwn restores the newest snapshot into a state that was lost or put back to an older one.
func (r *Replica) restoreOwn(meta *raft.SnapshotMeta) error {
	r.log.Warn("the state is older than the newest snapshot, which is now restored",
		"state", r.cfg.State.Applied(), "snapshot", meta.Index)
	_, from, err := r.snaps.Open(meta.ID)
	if err != nil {
		return fmt.Errorf("open snapshot %s: %w", meta.ID, err)
	}
	if err := errors.Join(r.cfg.Restore(from), from.Close()); err != nil {
		return fmt.Errorf("restore snapshot %s: %w", meta.ID, err)
	}
	return nil
}

// takenAt reads when a snapshot was taken, Unix milliseconds, out of its name, term-index-time as raft's
// stores give it; 0 for another name.
func takenAt(id string) int64 {
	parts := strings.Split(id, "-")
	at, err := strconv.ParseInt(parts[len(parts)-1], 10, 64)
	if err != nil || len(parts) != 3 {
		return 0
	}
	return at
}
