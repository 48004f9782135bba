package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/carecircle/carecircle/node/peers"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	scrubsFile = "scrubs.jsonl" // the newest scrubs, a line each
	scrubsKept = 400
)

// scrubs is what a node knows of scrubs.
type scrubs struct {
	asked chan int64 // when, as the name of one to begin
	disks chan *diskCheck

	mu   sync.Mutex
	kept []Scrub
	disk *diskCheck // the newest
}

// diskCheck is one reading of all that is on this replica's disk.
type diskCheck struct {
	index uint64 // of the scrub it belongs to
	done  chan struct{}
	err   error
}

func contains(all []string, one string) bool { return slices.Contains(all, one) }

// openScrubs reads what earlier scrubs found. A line that cannot be read is left out: it is but a record.
func (n *Node) openScrubs() error {
	n.scrubs.asked, n.scrubs.disks = make(chan int64, 1), make(chan *diskCheck, 1)
	raw, err := os.ReadFile(filepath.Join(n.Dir, scrubsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var s Scrub
		if json.Unmarshal(lines.Bytes(), &s) == nil {
			n.scrubs.kept = append(n.scrubs.kept, s)
		}
	}
	return nil
}

// newest returns what the newest scrub found, nil if there was none.
func (s *scrubs) newest() *Scrub {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return nil
	}
	newest := s.kept[len(s.kept)-1]
	return &newest
}

// noteScrub keeps what a scrub found.
func (n *Node) noteScrub(s Scrub) {
	n.options.Log.Info("scrubbed", "result", s.Result, "says", s.Says, "index", s.Index, "by", s.By)
	n.scrubs.mu.Lock()
	defer n.scrubs.mu.Unlock()
	kept := append(n.scrubs.kept, s)
	n.scrubs.kept = slices.Clone(kept[max(0, len(kept)-scrubsKept):])
	var lines bytes.Buffer
	for _, s := range n.scrubs.kept {
		raw, err := json.Marshal(s)
		if err != nil {
			panic(err) // numbers and text
		}
		lines.Write(append(raw, '\n'))
	}
	if err := vault.WriteFile(filepath.Join(n.Dir, scrubsFile), lines.Bytes(), 0o644); err != nil {
		n.fatal(fmt.Errorf("note what a scrub found: %w", err))
	}
}

// keepDiskRead reads this replica's disk when a scrub asks, until ctx ends.
func (n *Node) keepDiskRead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-n.scrubs.disks:
			c.err = n.state.verify(ctx)
			if c.err == nil {
				_, c.err = n.log.Verify(ctx, diskRate)
			}
			close(c.done)
		}
	}
}

// diskRead has this replica's disk read for a scrub, and waits for a while. Damage stops the replica.
func (n *Node) diskRead(ctx context.Context, index uint64) (read bool, err error) {
	n.scrubs.mu.Lock()
	c := n.scrubs.disk
	if c == nil || c.index != index {
		c = &diskCheck{index: index, done: make(chan struct{})}
		select {
		case n.scrubs.disks <- c:
			n.scrubs.disk = c
		default:
			n.scrubs.mu.Unlock()
			return false, errors.New("the disk is being read for another scrub")
		}
	}
	n.scrubs.mu.Unlock()
	wait := time.NewTimer(diskPoll)
	defer wait.Stop()
	select {
	case <-c.done:
		return true, c.err
	case <-wait.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// serveScrubs answers what other replicas ask of scrubs.
func (m *company) serveScrubs() {
	n := m.node
	m.mesh.Handle(callScrub, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		if !n.leads() {
			return nil, replica.ErrNotLeader
		}
		began, err := n.StartScrub(ctx)
		return binary.BigEndian.AppendUint64(nil, uint64(began)), err
	})
	m.mesh.Handle(callSum, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		var asked replica.Sum
		if err := json.Unmarshal(body, &asked); err != nil || asked.Index == 0 {
			return []byte("{}"), err
		}
		sum, err := n.replica.SumAt(ctx, asked.Index)
		if err != nil {
			return nil, err
		}
		return json.Marshal(sum)
	})
	m.mesh.Handle(callDisk, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		var asked replica.Sum
		if err := json.Unmarshal(body, &asked); err != nil {
			return nil, err
		}
		read, err := n.diskRead(ctx, asked.Index)
		if err != nil {
			return nil, err
		}
		return json.Marshal(read)
	})
	m.mesh.Handle(callWrong, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		var right replica.Sum
		if err := json.Unmarshal(body, &right); err != nil {
			return nil, err
		}
		own, err := n.replica.SumAt(ctx, right.Index)
		if err == nil && own != right {
			n.wrong(right)
		}
		return nil, err
	})
	m.mesh.Handle(callScrubbed, func(_ context.Context, _ string, body []byte) ([]byte, error) {
		var s Scrub
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, err
		}
		n.noteScrub(s)
		return nil, nil
	})
}

// olderProgram says which of the replicas that answer runs a program that would stop at a scrub.
func (m *company) olderProgram(ctx context.Context, ids []string) string {
	for _, id := range ids {
		var said *peers.RemoteError
		if id == m.id {
			continue
		}
		if _, err := m.askSum(ctx, id, 0); errors.As(err, &said) {
			return fmt.Sprintf("replica %s knows no scrubs: run the same version on all (%v)", id, err)
		}
	}
	return ""
}

// ask asks a replica about a scrub's log entry.
func (m *company) ask(ctx context.Context, id, name string, about, answer any) error {
	raw, err := json.Marshal(about)
	if err != nil {
		return err
	}
	if raw, err = m.mesh.Call(ctx, id, name, raw); err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(raw, answer)
}

func (m *company) askSum(ctx context.Context, id string, index uint64) (sum replica.Sum, err error) {
	return sum, m.ask(ctx, id, callSum, replica.Sum{Index: index}, &sum)
}

func (m *company) askDisk(ctx context.Context, id string, index uint64) (read bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*diskPoll)
	defer cancel()
	return read, m.ask(ctx, id, callDisk, replica.Sum{Index: index}, &read)
}

// tellWrong lets a replica know that its state is not the majority's: it looks for itself, and stops.
func (m *company) tellWrong(ctx context.Context, id string, right replica.Sum) {
	if err := m.ask(ctx, id, callWrong, right, nil); err != nil {
		m.log.Info("a replica whose state is wrong was told so and gave no answer", "replica", id, "why", err)
	}
}

// tellAll lets the other replicas know what a scrub found.
func (m *company) tellAll(ctx context.Context, s Scrub) {
	if m == nil {
		return
	}
	for _, p := range m.others() {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		if err := m.ask(ctx, p.ID, callScrubbed, s, nil); err != nil {
			m.log.Info("a replica does not hear what a scrub found", "replica", p.ID, "why", err)
		}
		cancel()
	}
}

// scrubRoutes are for whoever runs the node.
func (n *Node) scrubRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/scrub", n.operatorOnly(func(w http.ResponseWriter, r *http.Request) error {
		began, err := n.StartScrub(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, Scrub{Began: began, Replicas: []ScrubbedReplica{}})
	}))
	mux.HandleFunc("GET /api/v1/scrub", n.operatorOnly(func(w http.ResponseWriter, _ *http.Request) error {
		s := n.scrubs.newest()
		if s == nil {
			s = &Scrub{Replicas: []ScrubbedReplica{}}
		}
		return writeJSON(w, s)
	}))
}
