package node

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/metrics"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
)

// openMetrics readies the node's metrics. What they look at may not be there yet when they are first asked.
func (n *Node) openMetrics() {
	cfg := metrics.Config{Version: n.options.Version, Sample: n.sample}
	for _, r := range n.machine.Rules() {
		cfg.Kinds = append(cfg.Kinds, r.Kind)
	}
	for _, v := range n.machine.Views() {
		cfg.Views = append(cfg.Views, v.Name)
	}
	n.watched.metrics = metrics.New(cfg)
}

// sample looks at the node for one scrape.
func (n *Node) sample() metrics.Sample {
	s := n.replica.Status()
	var scrub metrics.Scrub
	if newest := n.scrubs.newest(); newest != nil {
		scrub = metrics.Scrub{At: time.UnixMilli(newest.Ended), Result: newest.Result}
	}
	return metrics.Sample{
		Scrub: scrub,
		Ready: notReady(n.checks(s)) == nil, Start: n.readyAfter(),
		Replica: metrics.Replica{
			ID: s.ID, State: strings.ToLower(s.State), LeaderKnown: s.Leader != "", Term: s.Term,
			Commit: s.Commit, Applied: s.Applied, Position: s.Position,
		},
		Replicas: n.replicaSamples(s),
		Links:    n.linkSamples(time.Now()), Disk: n.diskSample(),
		Snapshot: metrics.Snapshot{
			Index: s.SnapshotIndex, At: s.SnapshotAt, Bytes: newestSize(filepath.Join(n.Dir, snapshotDir)),
		},
		Backup: n.backupSample(),
	}
}

// replicaSamples is this replica and the others, as they were heard of a moment ago.
func (n *Node) replicaSamples(s replica.Status) []metrics.Standing {
	all := []metrics.Standing{{
		ID: s.ID, Alive: s.Err == nil, Voting: true, Heard: true, Lag: s.Commit - min(s.Applied, s.Commit),
	}}
	for _, o := range n.heardOf() {
		if o.ID == s.ID {
			all[0].Voting = o.Status == replicas.Voting.String()
			continue
		}
		all = append(all, metrics.Standing{
			ID: o.ID, Alive: o.Alive, Voting: o.Status == replicas.Voting.String(), Heard: o.Applied > 0,
			Lag: o.LagEntries,
		})
	}
	return all
}

func (n *Node) backupSample() *metrics.Backup {
	s := n.BackupStatus()
	if s == nil {
		return nil
	}
	every := time.Duration(n.Config.Backup.EveryHours) * time.Hour
	out := metrics.Backup{Every: every, Failed: s.Failed != ""}
	if s.LastBackup != nil {
		out.At = timeOf(s.LastBackup.MadeAt)
	}
	if s.LastDrill != nil {
		out.Drill = timeOf(s.LastDrill.At)
		out.Failed = out.Failed || !s.LastDrill.Passed
	}
	return &out
}

// timeOf reads a time as package backup writes it; zero where it is none.
func timeOf(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

func (n *Node) linkSamples(now time.Time) []metrics.Link {
	var all []metrics.Link
	for _, p := range *n.letters.status.Load() {
		waiting, oldest := n.waitingFor(p, now)
		all = append(all, metrics.Link{
			Circle: string(p.Peer), Connected: p.Connected, Waiting: waiting, Oldest: oldest,
		})
	}
	return all
}

// waitingFor returns how many of our letters a circle does not hold, and how old the oldest of them is.
func (n *Node) waitingFor(p courier.PeerStatus, now time.Time) (waiting uint64, oldest time.Duration) {
	if p.Held >= p.Tail {
		return 0, 0
	}
	err := n.replica.Read(func(r machine.Reader) error {
		for _, raw := range exchange.Outbox(r, p.Peer, p.Held+1, p.Held+1) {
			record, err := letter.Decode(raw)
			if err != nil {
				return err
			}
			oldest = max(0, now.Sub(time.UnixMilli(record.At)))
		}
		return nil
	})
	if err != nil { // the replica has stopped, and says so elsewhere
		return p.Tail - p.Held, 0
	}
	return p.Tail - p.Held, oldest
}

// newestSize returns the size of the newest snapshot in a directory of raft's file store; 0: there is none.
func newestSize(dir string) int64 {
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil {
		return 0
	}
	var at time.Time
	var size int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err == nil && !strings.HasSuffix(filepath.Dir(f), ".tmp") && info.ModTime().After(at) {
			at, size = info.ModTime(), info.Size()
		}
	}
	return size
}

// counted does a command and counts what came of it.
func (n *Node) counted(ctx context.Context, c machine.Command) (machine.Outcome, error) {
	began := time.Now()
	out, err := n.replica.Do(ctx, c)
	n.watched.metrics.Command(c.Kind, outcomeOf(out.Refusal, err), time.Since(began))
	return out, err
}

// outcomeOf sorts what came of a command or a view. A view refuses by its error.
func outcomeOf(refusal *machine.Error, err error) metrics.Outcome {
	switch {
	case refusal != nil || errors.As(err, &refusal):
		return metrics.Refused
	case err != nil:
		return metrics.Failed
	}
	return metrics.Done
}

// timedSnap is a snapshot whose writing is timed.
type timedSnap struct {
	replica.Snap
	metrics *metrics.Metrics
	dir     string // on the disk it is written to
}

func timedSnapshot[S replica.Snap](take func() (S, error), m *metrics.Metrics, dir string) (replica.Snap,
	error,
) {
	snap, err := take()
	if err != nil {
		return nil, err
	}
	return timedSnap{snap, m, dir}, nil
}

// WriteTo implements io.WriterTo.
func (s timedSnap) WriteTo(w io.Writer) (int64, error) {
	began := time.Now()
	written, err := s.Snap.WriteTo(store.RoomFor(w, s.dir))
	if err == nil {
		s.metrics.SnapshotWritten(time.Since(began))
	}
	return written, err
}
