package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/peers"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/vault"
)

// What replicas ask each other, by name.
const (
	callDo       = "do"       // a logged command's bytes; the outcome, see forward
	callIndex    = "index"    // replica.Index as eight bytes
	callTerm     = "term"     // replica.Term as eight bytes
	callStanding = "standing" // standing as JSON
	callKeep     = "keep"     // a vault key as JSON, kept on disk once it is answered
	callKey      = "key"      // version and mark of a vault key; the key
	callCopies   = "copies"   // the backups on a machine as JSON
	callRenew    = "renew"    // a replica whose disks were lost asks to begin anew; its life
	callScrub    = "scrub"    // the leader begins a scrub; when, as eight bytes
	callSum      = "sum"      // the state's sum at a scrub's log entry, as JSON; nothing at entry 0
	callDisk     = "disk"     // whether the disk was read for a scrub and found whole; damage is an error
	callWrong    = "wrong"    // the majority's sum, to a replica that differs
	callScrubbed = "scrubbed" // what a scrub found, as JSON

	callLimit     = 2 * time.Second
	renewPatience = 30 * time.Second
)

// The first byte of the answer to callDo.
const (
	doneSo     = 0 // the outcome follows
	notLeading = 1 // nothing was proposed
	notKnown   = 2 // it may have been; why follows
)

// serve begins to answer the other replicas.
func (m *company) serve() {
	if m == nil {
		return
	}
	number := func(n uint64, err error) ([]byte, error) { return binary.BigEndian.AppendUint64(nil, n), err }
	r := m.node.replica
	m.mesh.Handle(callDo, m.doHere)
	m.mesh.Handle(callIndex, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		return number(r.Index(ctx))
	})
	m.mesh.Handle(callTerm, func(context.Context, string, []byte) ([]byte, error) {
		return number(r.Term(), nil)
	})
	m.mesh.Handle(callStanding, func(context.Context, string, []byte) ([]byte, error) {
		return json.Marshal(m.ownStanding())
	})
	m.mesh.Handle(callKeep, func(_ context.Context, _ string, body []byte) ([]byte, error) {
		var k vaultKey
		if err := json.Unmarshal(body, &k); err != nil {
			return nil, err
		}
		return nil, m.node.sealer.vault.Import(k.entry())
	})
	m.mesh.Handle(callKey, func(_ context.Context, _ string, body []byte) ([]byte, error) {
		var asked vaultKey
		if err := json.Unmarshal(body, &asked); err != nil {
			return nil, err
		}
		e, ok := m.node.sealer.vault.Export(asked.Version, asked.Mark)
		if !ok {
			return nil, errors.New("that key is not here")
		}
		return json.Marshal(keyOf(e))
	})
	m.mesh.Handle(callCopies, func(context.Context, string, []byte) ([]byte, error) {
		return json.Marshal(m.node.ownCopies())
	})
	m.mesh.Handle(callRenew, m.renewed)
	m.serveScrubs()
}

// doHere does a command that another replica was asked for.
func (m *company) doHere(ctx context.Context, _ string, body []byte) ([]byte, error) {
	c, err := machine.DecodeCommand(body)
	if err != nil {
		return nil, err
	}
	if !m.node.leads() || m.node.low() { // one with room will lead
		return []byte{notLeading}, nil
	}
	out, err := m.node.replica.Do(ctx, c)
	switch {
	case err == nil:
		return append([]byte{doneSo}, machine.EncodeOutcome(out)...), nil
	case errors.Is(err, replica.ErrNotLeader) && !errors.Is(err, replica.ErrUnknown):
		return []byte{notLeading}, nil
	default:
		return append([]byte{notKnown}, err.Error()...), nil
	}
}

// forward hands a command to the replica that leads; see replica.Config.
func (m *company) forward(ctx context.Context, leader string, c machine.Command) (machine.Outcome, error) {
	raw, err := c.Encode()
	if err != nil {
		return machine.Outcome{}, err
	}
	answer, err := m.mesh.Call(ctx, leader, callDo, raw)
	var transport *peers.TransportError
	switch {
	case errors.As(err, &transport) && !transport.Sent:
		return machine.Outcome{}, fmt.Errorf("%w: %s is not reached: %w", replica.ErrNotLeader, leader, err)
	case err != nil:
		return machine.Outcome{}, fmt.Errorf("%w: %w", replica.ErrUnknown, err)
	case len(answer) > 0 && answer[0] == doneSo:
		return m.node.machine.DecodeOutcome(answer[1:])
	case len(answer) > 0 && answer[0] == notLeading:
		return machine.Outcome{}, replica.ErrNotLeader
	case len(answer) > 0:
		return machine.Outcome{}, fmt.Errorf("%w: %s", replica.ErrUnknown, answer[1:])
	default:
		return machine.Outcome{}, fmt.Errorf("%w: %s answers nothing", replica.ErrUnknown, leader)
	}
}

func (m *company) askNumber(ctx context.Context, id, name string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	raw, err := m.mesh.Call(ctx, id, name, nil)
	if err == nil && len(raw) != 8 {
		err = fmt.Errorf("%s answers %q with %d bytes", id, name, len(raw))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(raw), nil
}

func (m *company) askIndex(ctx context.Context, leader string) (uint64, error) {
	return m.askNumber(ctx, leader, callIndex)
}

func (m *company) askTerm(ctx context.Context, id string) (uint64, error) {
	return m.askNumber(ctx, id, callTerm)
}

// vaultKey is a key of the vault on its way between replicas.
type vaultKey struct {
	Version uint32       `json:"version"`
	Mark    machine.Hash `json:"mark"`
	Key     []byte       `json:"key,omitempty"`
}

func keyOf(e vault.Entry) vaultKey {
	return vaultKey{Version: e.Version, Mark: e.Mark(), Key: e.Key[:]}
}

func (k vaultKey) entry() vault.Entry {
	var e vault.Entry
	e.Version = k.Version
	copy(e.Key[:], k.Key)
	return e
}

// Distribute implements Others.
func (m *company) Distribute(ctx context.Context, key vault.Entry) error {
	raw, err := json.Marshal(keyOf(key))
	if err != nil {
		return err
	}
	others := m.others()
	answers := make(chan error, len(others))
	for _, p := range others {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, callLimit)
			defer cancel()
			_, err := m.mesh.Call(ctx, p.ID, callKeep, raw)
			answers <- err
		}()
	}
	kept := 1
	var last error
	for range others {
		if err := <-answers; err != nil {
			last = err
		} else {
			kept++
		}
	}
	if all := len(others) + 1; kept <= all/2 {
		return fmt.Errorf("%d of %d replicas keep the key, which is no majority: %w", kept, all, last)
	}
	return nil
}

// Fetch implements Others.
func (m *company) Fetch(ctx context.Context, version uint32, mark machine.Hash) (vault.Entry, error) {
	asked, err := json.Marshal(vaultKey{Version: version, Mark: mark})
	if err != nil {
		return vault.Entry{}, err
	}
	err = errors.New("there is no other replica")
	for _, p := range m.others() {
		var raw []byte
		if raw, err = m.mesh.Call(ctx, p.ID, callKey, asked); err != nil {
			continue
		}
		var got vaultKey
		if err = json.Unmarshal(raw, &got); err == nil && len(got.Key) == len(vault.Secret{}) {
			return got.entry(), nil
		}
	}
	return vault.Entry{}, err
}
