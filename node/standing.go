package node

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
)

const surveyEvery = 2 * time.Second // how often a replica asks the others where they stand

// Standing is where one replica stands.
type Standing struct {
	ID     string `json:"id"`
	Status string `json:"status"` // as decided: joining, voting
	Alive  bool   `json:"alive"`  // it answers; if not, what follows is as it was last heard, or nothing
	State  string `json:"state,omitempty"`
	Term   uint64 `json:"term,omitempty"`
	// Applied is the newest log entry in its state, LagEntries how many of those committed it has yet to
	// apply.
	Applied    uint64 `json:"applied,omitempty"`
	LagEntries uint64 `json:"lagEntries"`
	Position   uint64 `json:"position,omitempty"` // commands in its journal
	Version    string `json:"version,omitempty"`  // of its program
	Rules      uint32 `json:"rules,omitempty"`    // the newest rules version that its program knows
	Low        bool   `json:"low,omitempty"`      // its disk is nearly full
	Scrub      string `json:"scrub,omitempty"`    // what the newest scrub found of it
}

func (m *company) ownStanding() Standing {
	s := m.node.replica.Status()
	return Standing{
		ID: m.id, Alive: s.Err == nil, State: s.State, Term: s.Term, Applied: s.Applied, Position: s.Position,
		Version: m.node.options.Version, Rules: machine.NewestRules,
		Low: m.node.low(),
	}
}

func (m *company) standing(ctx context.Context, id string) (Standing, error) {
	var s Standing
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	raw, err := m.mesh.Call(ctx, id, callStanding, nil)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, err
}

// Replicas asks each of the circle's replicas where it stands; none for a circle that has one only.
func (n *Node) Replicas(ctx context.Context) []Standing {
	if n.company == nil {
		return nil
	}
	return n.company.standings(ctx)
}

// standings asks all at once; the answers are in the list's order.
func (m *company) standings(ctx context.Context) []Standing {
	there := slices.DeleteFunc(slices.Clone(*m.known.Load()), func(p replicas.Replica) bool {
		return p.Status == replicas.Removed
	})
	all := make([]Standing, len(there))
	done := make(chan struct{})
	for i, p := range there {
		go func() {
			defer func() { done <- struct{}{} }()
			all[i] = m.standingOf(ctx, p)
		}()
	}
	for range there {
		<-done
	}
	return all
}

func (m *company) standingOf(ctx context.Context, p replicas.Replica) Standing {
	s := m.ownStanding()
	if p.ID != m.id {
		var err error
		if s, err = m.standing(ctx, p.ID); err != nil {
			s = m.lastHeard(p.ID)
			s.Alive = false
		}
	}
	commit := m.node.replica.Status().Commit // later than its answer, so that nothing lags by less than 0
	s.ID, s.Status, s.LagEntries = p.ID, p.Status.String(), 0
	s.Scrub = m.node.scrubs.newest().of(p.ID)
	if s.Applied > 0 {
		s.LagEntries = commit - min(s.Applied, commit)
	}
	return s
}

// lastHeard is what a replica answered last, nothing if it never has since this one started.
func (m *company) lastHeard(id string) Standing {
	for _, s := range *m.heard.Load() {
		if s.ID == id {
			return s
		}
	}
	return Standing{}
}

// survey keeps heard up to date until ctx ends, so that nobody who asks how the circle does waits for a
// replica that is away.
func (m *company) survey(ctx context.Context) {
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		all := m.standings(ctx)
		m.heard.Store(&all)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// heardOf returns where each of the circle's replicas stood a moment ago.
func (n *Node) heardOf() []Standing {
	if n.company == nil {
		return nil
	}
	return *n.company.heard.Load()
}

// mayActivate refuses to put rules in force that a replica's program does not know: it would have to stop.
// Rules see no other replica, so this is asked here, before the command is logged.
func (n *Node) mayActivate(ctx context.Context, version uint32) *machine.Error {
	for _, s := range n.Replicas(ctx) {
		switch {
		case !s.Alive:
			return machine.Refuse("replica_away", "The replica %q does not answer, so nobody knows whether"+
				" its program has rules version %d. Start it, or remove it: carecircle replica remove %s.",
				s.ID, version, s.ID)
		case s.Rules < version:
			return machine.Refuse("rules_behind", "The replica %q runs carecircle %s, which knows rules up"+
				" to version %d. Install there what the others run, then switch to version %d.",
				s.ID, s.Version, s.Rules, version)
		}
	}
	return nil
}
