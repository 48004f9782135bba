package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/peers"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
)

const (
	scrubAt       = "03:30" // at night, local time
	scrubSpread   = 30      // minutes after it, in which circles take turns on one disk
	scrubEvery    = 20 * time.Second
	scrubPatience = 30 * time.Second // for a replica to reach the scrub's log entry
	diskPatience  = time.Hour        // for a replica to read its disk
	diskRate      = 16 << 20         // bytes a second that it reads
	diskPoll      = 10 * time.Second // one question whether it has
)

// Results of a scrub, the worst of what was found.
const (
	ScrubWhole      = "whole"      // all replicas hold the same, and every disk what was written
	ScrubIncomplete = "incomplete" // not all answered; those that did are whole
	ScrubDamaged    = "damaged"    // a replica was wrong: it has stopped, and heals at its next start
	ScrubUnsure     = "unsure"     // replicas differ, and no majority says which is right
)

// ScrubResults lists the results there are.
var ScrubResults = []string{ScrubWhole, ScrubIncomplete, ScrubDamaged, ScrubUnsure}

// Scrub is what came of comparing the circle's replicas and reading their disks.
type Scrub struct {
	Began    int64             `json:"began"` // Unix milliseconds; names the scrub
	Ended    int64             `json:"ended"`
	By       string            `json:"by"`    // the replica that led it
	Index    uint64            `json:"index"` // the log entry at which the replicas were compared
	Result   string            `json:"result"`
	Says     string            `json:"says,omitempty"`
	Replicas []ScrubbedReplica `json:"replicas"`
}

// ScrubbedReplica is what a scrub found of one replica.
type ScrubbedReplica struct {
	ID   string `json:"id"`
	Rows uint64 `json:"rows,omitempty"`
	Sum  string `json:"sum,omitempty"` // empty: it gave none
	Disk string `json:"disk"`          // whole, damaged or unchecked
	Says string `json:"says,omitempty"`
}

// Words for a disk.
const (
	diskWhole     = "whole"
	diskDamaged   = "damaged"
	diskUnchecked = "unchecked"
)

// What is said of replicas that differ.
const (
	saysWrong = " differs from the majority; it stops, and begins anew with the others' copy at its next" +
		" start"
	saysUnsure = " differ, and no majority says which is right: nothing was stopped. Keep a copy of each" +
		" directory, compare their books, then remove the one that is wrong: carecircle replica remove ID"
)

// StartScrub has the replica that leads begin a scrub, and returns when that began, which names it.
func (n *Node) StartScrub(ctx context.Context) (int64, error) {
	s := n.replica.Status()
	if s.Leader != "" && s.Leader != s.ID && n.company != nil {
		began, err := n.company.askNumber(ctx, s.Leader, callScrub)
		return int64(began), err
	}
	began := time.Now().UnixMilli()
	select {
	case n.scrubs.asked <- began:
		return began, nil
	default:
		return 0, errors.New("a scrub waits to begin already: its result will be in carecircle status")
	}
}

// keepScrubbed scrubs when asked, and once a night where this replica leads, until ctx ends.
func (n *Node) keepScrubbed(ctx context.Context) {
	tick := time.NewTicker(scrubEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case began := <-n.scrubs.asked:
			n.scrub(ctx, began)
		case <-tick.C:
			now := time.Now()
			if n.leads() && scrubDue(n.lastScrub(), now, n.Config.scrubAt(), n.scrubTurn()) {
				n.scrub(ctx, now.UnixMilli())
			}
		}
	}
}

// lastScrub is when the newest scrub began, or else this node: a first one waits for its night.
func (n *Node) lastScrub() time.Time {
	if s := n.scrubs.newest(); s != nil && s.Began > n.started.UnixMilli() {
		return time.UnixMilli(s.Began)
	}
	return n.started
}

// scrubTurn is after how many minutes this circle takes its turn.
func (n *Node) scrubTurn() int {
	return int(binary.BigEndian.Uint16(n.Keys.CirclePublic())) % scrubSpread
}

// scrubDue tells whether the time of day at, and turn minutes, has passed since the last scrub.
func scrubDue(last, now time.Time, at time.Time, turn int) bool {
	y, m, d := now.Date()
	due := time.Date(y, m, d, at.Hour(), at.Minute()+turn, 0, 0, now.Location())
	if due.After(now) {
		due = due.AddDate(0, 0, -1)
	}
	return last.Before(due)
}

// scrubAt is the time of day at which scrubs begin.
func (c Config) scrubAt() time.Time {
	at, err := time.Parse("15:04", orElse(c.Scrub, scrubAt))
	if err != nil {
		panic(fmt.Errorf("scrub at %q: %w", c.Scrub, err)) // Check has read it
	}
	return at
}

// scrub compares the replicas, has each read its disk in turn, and lets all know. A replica that is wrong
// stops, this one last.
func (n *Node) scrub(ctx context.Context, began int64) {
	s := Scrub{Began: began, By: n.replica.Status().ID, Result: ScrubIncomplete}
	wrong, right := n.compare(ctx, &s)
	for _, id := range wrong {
		if id != s.By {
			n.company.tellWrong(ctx, id, right)
		}
	}
	for i := range s.Replicas {
		if r := &s.Replicas[i]; r.Sum != "" && !contains(wrong, r.ID) {
			n.checkDisk(ctx, r, s.Index)
		}
	}
	s.conclude()
	s.Ended = time.Now().UnixMilli()
	if ctx.Err() != nil {
		return
	}
	n.noteScrub(s)
	n.company.tellAll(ctx, s)
	if contains(wrong, s.By) {
		n.wrong(right)
	}
}

// compare fills in the replicas' sums, and returns which are wrong and what is right.
func (n *Node) compare(ctx context.Context, s *Scrub) (wrong []string, right replica.Sum) {
	ids, voters := []string{s.By}, 1
	if n.company != nil {
		ids, voters = n.company.counted()
		if s.Says = n.company.olderProgram(ctx, ids); s.Says != "" {
			return nil, right
		}
	}
	var err error
	if s.Index, err = n.replica.Scrub(ctx); err != nil {
		s.Says = err.Error()
		return nil, right
	}
	sums := map[string]replica.Sum{}
	for _, id := range ids {
		r := ScrubbedReplica{ID: id, Disk: diskUnchecked}
		sum, err := n.sumOf(ctx, id, s.Index)
		if err != nil {
			r.Says = err.Error()
		} else {
			sums[id] = sum
			r.Rows, r.Sum = sum.Rows, fmt.Sprintf("%016x", sum.Sum)
		}
		s.Replicas = append(s.Replicas, r)
	}
	v := replica.Judge(sums, voters)
	switch {
	case len(v.Differ) > 0 && v.Sure:
		s.Result, s.Says = ScrubDamaged, strings.Join(v.Differ, ", ")+saysWrong
		return v.Differ, v.Right
	case len(v.Differ) > 0:
		s.Result, s.Says = ScrubUnsure, strings.Join(v.Differ, ", ")+saysUnsure
	}
	return nil, right
}

// of says in short what a scrub found of one replica.
func (s *Scrub) of(id string) string {
	if s == nil {
		return ""
	}
	at := time.UnixMilli(s.Ended).Format(time.DateTime)
	for _, r := range s.Replicas {
		if r.ID != id {
			continue
		}
		if r.Sum == "" {
			return at + ": not compared"
		}
		return fmt.Sprintf("%s: %d rows, sum %s, disk %s", at, r.Rows, r.Sum, r.Disk)
	}
	return ""
}

// conclude puts what the disks say into the result.
func (s *Scrub) conclude() {
	if s.Result == ScrubUnsure || s.Result == ScrubDamaged || len(s.Replicas) == 0 {
		return
	}
	s.Result = ScrubWhole
	for _, r := range s.Replicas {
		switch r.Disk {
		case diskDamaged:
			s.Result, s.Says = ScrubDamaged, "the disk of "+r.ID+" is damaged"
			return
		case diskUnchecked:
			s.Result, s.Says = ScrubIncomplete, r.ID+" was not checked: "+r.Says
		}
	}
}

// sumOf asks a replica for its sum at a scrub's log entry.
func (n *Node) sumOf(ctx context.Context, id string, index uint64) (replica.Sum, error) {
	ctx, cancel := context.WithTimeout(ctx, scrubPatience)
	defer cancel()
	if id == n.replica.Status().ID {
		return n.replica.SumAt(ctx, index)
	}
	return n.company.askSum(ctx, id, index)
}

// checkDisk waits until a replica has read all of its disk, and puts down what it found.
func (n *Node) checkDisk(ctx context.Context, r *ScrubbedReplica, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, diskPatience)
	defer cancel()
	for {
		var read bool
		var err error
		if r.ID == n.replica.Status().ID {
			read, err = n.diskRead(ctx, index)
		} else {
			read, err = n.company.askDisk(ctx, r.ID, index)
		}
		var said *peers.RemoteError
		switch {
		case errors.Is(err, store.ErrDamaged), errors.As(err, &said):
			r.Disk, r.Says = diskDamaged, err.Error()
		case err != nil:
			r.Says = fmt.Sprintf("it did not answer while it read its disk; its own log says why: %v", err)
		case read:
			r.Disk = diskWhole
		default:
			continue
		}
		return
	}
}

// wrong ends a replica whose state is not what the majority's is.
func (n *Node) wrong(right replica.Sum) {
	n.fatal(fmt.Errorf("the state is %w: at log entry %d it differs from that of a majority of the circle's"+
		" replicas. Start the node again: it begins anew with the others' copy", store.ErrDamaged,
		right.Index))
}

// counted returns the replicas there are, and how many of them count.
func (m *company) counted() (ids []string, voters int) {
	for _, p := range *m.known.Load() {
		if p.Status == replicas.Removed {
			continue
		}
		ids = append(ids, p.ID)
		if p.Status == replicas.Voting {
			voters++
		}
	}
	return ids, voters
}
