package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/metrics"
	"github.com/carecircle/carecircle/node/store"
)

const spaceEvery = time.Second // how often the room on the disk is looked at

// room is the room on the node's disk as it was last looked at.
type room struct {
	space *store.Space
	now   atomic.Pointer[roomNow]
}

type roomNow struct {
	state        store.SpaceState
	free, margin int64
}

// lowDisk is what whoever wants something written is told while there is no room for it. It is no outcome:
// the same request may be done later, or was done before.
var lowDisk = machine.Refuse("disk_low", "The disk of this circle's node is nearly full, so that nothing can"+
	" be written just now. Nothing is lost, and everything can be read. Whoever runs the node: free some"+
	" space on the disk, or run carecircle space release. Then send the same request again.")

// low tells whether writes must stop.
func (n *Node) low() bool {
	now := n.room.now.Load()
	return now != nil && now.state != store.SpaceOK
}

// openSpace looks at the room on the disk for the first time, before anything is written.
func (n *Node) openSpace() error {
	n.room.space = store.NewSpace(n.Dir, 0)
	return n.lookAtSpace()
}

// watchSpace looks at the room until ctx ends. A leader without any hands over to a replica that has some.
func (n *Node) watchSpace(ctx context.Context) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.lookAtSpace(); err != nil {
			n.fatal(err)
			return
		}
		if n.low() && n.company != nil && n.leads() {
			n.handOverForRoom(ctx)
		}
	}
}

// lookAtSpace returns an error where the node must end at once: what it wrote next could find the disk full,
// and Badger's mapped files would take the process with them in the middle of anything.
func (n *Node) lookAtSpace() error {
	state, free, margin, err := n.room.space.Check()
	if err != nil {
		return fmt.Errorf("look at the room on the disk: %w", err)
	}
	was := n.room.now.Swap(&roomNow{state, free, margin})
	if state == store.SpaceFull {
		return fmt.Errorf("%w: %s has %d MiB left: free some space, or run carecircle space release --data"+
			" %s, and start again; nothing that was acknowledged is lost", store.ErrFull, n.Dir, free>>20,
			n.Dir)
	}
	wasLow := was != nil && was.state != store.SpaceOK
	switch {
	case state == store.SpaceLow && !wasLow:
		n.options.Log.Error("the disk is nearly full: nothing is written any more, reading goes on; free"+
			" some space, or run carecircle space release", "free", free, "margin", margin)
	case state == store.SpaceOK && wasLow:
		n.options.Log.Info("there is room on the disk again: writing goes on", "free", free)
	}
	return nil
}

// handOverForRoom has a replica lead that has room, if there is one.
func (n *Node) handOverForRoom(ctx context.Context) {
	all := n.Replicas(ctx)
	i := slices.IndexFunc(all, func(s Standing) bool {
		return s.ID != n.company.id && s.Alive && !s.Low && s.Status == replicas.Voting.String()
	})
	if i < 0 {
		return
	}
	if err := n.replica.HandOver(ctx, all[i].ID); err != nil && ctx.Err() == nil {
		n.options.Log.Warn("a replica with room on its disk has not taken the lead yet; trying again",
			"replica", all[i].ID, "err", err)
	}
}

// diskSample is the room on the disk for whoever watches.
func (n *Node) diskSample() metrics.Disk {
	free, size := diskOf(n.Dir)
	d := metrics.Disk{Free: free, Size: size, Low: n.low()}
	if now := n.room.now.Load(); now != nil {
		d.Margin, d.Ballast = uint64(now.margin), uint64(n.room.space.Ballast())
	}
	return d
}

// ReleaseSpace deletes the ballast of the node in a directory, running or not, and returns how many bytes
// that gave back.
func ReleaseSpace(dir string) (int64, error) {
	if _, err := ReadConfig(dir); err != nil {
		return 0, err
	}
	space := store.NewSpace(dir, 0)
	bytes := space.Ballast()
	return bytes, space.Release()
}

// StorageFailed tells whether an error is one of the disk, or of what lies there.
func StorageFailed(err error) bool {
	return isOneOf(err, damages) || isOneOf(err, []error{store.ErrFull, syscall.EIO, syscall.ENOSPC})
}

// snapshotRoute lets whoever runs the node have a snapshot taken now.
func (n *Node) snapshotRoute(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/snapshot", n.operatorOnly(func(w http.ResponseWriter,
		_ *http.Request,
	) error {
		if err := n.replica.Snapshot(); err != nil {
			return err
		}
		return writeJSON(w, map[string]uint64{"index": n.replica.Status().SnapshotIndex})
	}))
}
