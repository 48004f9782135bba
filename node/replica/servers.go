package replica

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

const changeLimit = 10 * time.Second // the longest that a change of the servers is waited for

// Server is one replica as raft counts it. Life counts how often its disks were lost.
type Server struct {
	ID    string
	Life  uint32
	Voter bool
}

// Servers returns the replicas that raft sends its log to, this one among them.
func (r *Replica) Servers() []Server {
	var all []Server
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		_, text, _ := strings.Cut(string(s.Address), lifeMark)
		life, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			life = 0
		}
		all = append(all, Server{ID: string(s.ID), Life: uint32(life), Voter: s.Suffrage == raft.Voter})
	}
	return all
}

// SetServer, on the leader, has raft send its log to a replica, and count it if it is a voter. It returns
// once the change is safe; an error leaves it unknown whether it will be.
func (r *Replica) SetServer(ctx context.Context, s Server) error {
	change := r.raft.AddNonvoter
	if s.Voter {
		change = r.raft.AddVoter
	}
	f := change(raft.ServerID(s.ID), address(s.ID, s.Life), 0, changeLimit)
	return r.changed(ctx, "add replica "+s.ID, f)
}

// RemoveServer, on the leader, takes a replica out. It may be this one, which then leads no longer.
func (r *Replica) RemoveServer(ctx context.Context, id string) error {
	return r.changed(ctx, "remove replica "+id, r.raft.RemoveServer(raft.ServerID(id), 0, changeLimit))
}

func (r *Replica) changed(ctx context.Context, what string, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }() // raft may never answer, as when it stops
	limit := time.NewTimer(changeLimit)
	defer limit.Stop()
	var err error
	select {
	case err = <-done:
	case <-limit.C:
		err = errors.New("no answer in time")
	case <-ctx.Done():
		err = ctx.Err()
	case <-r.stopped:
		err = r.cause
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, r.explain(err))
	}
	return nil
}

// HandOver, on the leader, has another replica lead: the one of the given id, or, if that is empty, whichever
// has most of the log. Where it fails before this one stops, the others notice by themselves a little later.
func (r *Replica) HandOver(ctx context.Context, to string) error {
	all := r.raft.GetConfiguration().Configuration().Servers
	if r.raft.State() != raft.Leader || len(all) < 2 {
		return nil
	}
	if to == "" {
		return r.changed(ctx, "hand over", r.raft.LeadershipTransfer())
	}
	for _, s := range all {
		if string(s.ID) == to {
			return r.changed(ctx, "hand over to "+to, r.raft.LeadershipTransferToServer(s.ID, s.Address))
		}
	}
	return fmt.Errorf("hand over to %s: raft does not know it", to)
}

// pace gives raft the timeouts that suit how many replicas there are: a circle's only one waits for nobody.
func (r *Replica) pace() {
	want := severalTimeout
	if len(r.raft.GetConfiguration().Configuration().Servers) < 2 {
		want = leaseTimeout
	}
	now := r.raft.ReloadableConfig()
	if !r.cfg.Several || r.cfg.tune != nil || now.HeartbeatTimeout == want {
		return
	}
	now.HeartbeatTimeout, now.ElectionTimeout = want, want
	if err := r.raft.ReloadConfig(now); err != nil {
		panic(fmt.Errorf("raft's timeouts: %w", err)) // they are constants
	}
}
