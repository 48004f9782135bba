package replica

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// Check tells whether a replica can start from a state, a log and the snapshots in a directory, all of them
// whole: no entry may be missing between them, and a snapshot that is needed must open.
func Check(dir string, state State, log Store, logger *slog.Logger) error {
	snaps, err := Config{Dir: dir, Logger: logger}.snapshots()
	if err != nil {
		return err
	}
	newest, err := fits(snaps, log, state.Applied())
	if err != nil || newest == nil || state.Applied() >= newest.Index {
		return err
	}
	_, from, err := snaps.Open(newest.ID)
	if err != nil {
		return fmt.Errorf("the state is older than snapshot %s in %s, and that is damaged: %w: restore a"+
			" backup", newest.ID, dir, err)
	}
	return from.Close()
}

// Suffices tells whether log and snapshots in a directory hold everything that a lost state was made of, and
// opens the newest snapshot; nil if there never was one.
func Suffices(dir string, log Store, logger *slog.Logger) (io.ReadCloser, error) {
	snaps, err := Config{Dir: dir, Logger: logger}.snapshots()
	if err != nil {
		return nil, err
	}
	newest, err := fits(snaps, log, 0)
	if err != nil || newest == nil {
		return nil, err
	}
	_, from, err := snaps.Open(newest.ID)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s in %s is damaged: %w", newest.ID, dir, err)
	}
	return from, nil
}

// fits makes sure that no entry is missing between snapshots, log and a state, and returns the newest
// snapshot, nil if there is none.
func fits(snaps raft.SnapshotStore, log Store, applied uint64) (*raft.SnapshotMeta, error) {
	metas, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	first, err := log.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	var newest *raft.SnapshotMeta
	var index uint64
	if len(metas) > 0 {
		newest, index = metas[0], metas[0].Index
	}
	switch {
	case first > index+1:
		return nil, fmt.Errorf("log entries %d to %d are missing, and so is a snapshot that holds them; one"+
			" whose meta.json is damaged counts for nothing: put the snapshot directory back, or restore"+
			" a backup", index+1, first-1)
	case applied > max(last, index):
		return nil, fmt.Errorf("the state holds log entry %d, the log ends at %d: they are not of one time,"+
			" put back those that belong together, or restore a backup", applied, max(last, index))
	}
	return newest, nil
}

// catchUp makes sure that the state is at least as new as the newest snapshot, since raft will only apply
// what comes after that one, and that no entry is missing in between. It returns the snapshot's index.
func (r *Replica) catchUp() (uint64, error) {
	newest, err := fits(r.snaps, r.disk, r.cfg.State.Applied())
	if err != nil || newest == nil {
		return 0, err
	}
	r.snapshotAt.Store(takenAt(newest.ID))
	if r.cfg.State.Applied() >= newest.Index {
		return newest.Index, nil
	}
	return newest.Index, r.restoreOwn(newest)
}

// undoHalfBootstrap lets a bootstrap be done again that was cut short between its two writes: first a term,
// then the circle's first entry. Raft takes a term alone for a life before, and would neither bootstrap nor
// lead. Without an entry, a snapshot or a vote nothing was promised in it.
func (r *Replica) undoHalfBootstrap() error {
	term, err := r.disk.GetUint64([]byte(termKey))
	if err != nil || term != 1 {
		return nil //nolint:nilerr // there is none; any other error raft's start meets, too
	}
	if _, err := r.disk.Get([]byte(voteKey)); err == nil {
		return nil
	}
	newest, err := fits(r.snaps, r.disk, 0)
	if err != nil || newest != nil {
		return err
	}
	last, err := r.disk.LastIndex()
	if err != nil || last != 0 {
		return err
	}
	return r.disk.SetUint64([]byte(termKey), 0)
}

// What raft keeps in its stable store, by raft's names.
const (
	termKey = "CurrentTerm"
	voteKey = "LastVoteTerm"
)

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
