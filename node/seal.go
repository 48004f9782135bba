package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	vaultEvery  = 2 * time.Second
	keyPoll     = 5 * time.Millisecond
	maxNewKeys  = 8   // people whose first private words one command may hold
	maxTurns    = 100 // commands that one turn of the vault takes at most
	eraseLimit  = 5 * time.Second
	vaultsFirst = 1
)

// Others are the circle's other replicas, as far as the vault needs them. Nil: this is the only one.
type Others interface {
	// Distribute returns once a majority of the replicas, this one included, holds the key on disk.
	Distribute(ctx context.Context, key vault.Entry) error
	// Fetch asks the others for the key that the log names.
	Fetch(ctx context.Context, version uint32, mark machine.Hash) (vault.Entry, error)
}

// sealer seals what is personal before it is logged, and opens it for views. Rules never see a key.
type sealer struct {
	vault   *vault.Vault
	circle  replicaOf
	machine *machine.Machine
	others  Others
	log     *slog.Logger
	turning sync.Mutex // one turn of the vault at a time
}

// noKey says that a person has no key yet.
type noKey struct{ person string }

func (e noKey) Error() string { return e.person + " has no key yet" }

// open opens private data for a view.
func (s *sealer) open(r machine.Reader, p machine.Private) ([]byte, bool) {
	key, err := s.key(r, p.Of)
	if err != nil {
		return nil, false
	}
	b, err := vault.OpenText(key, p)
	return b, err == nil
}

// key returns a person's key.
func (s *sealer) key(r machine.Reader, person string) (vault.Secret, error) {
	wrapped, ok := member.KeyOf(r, person)
	if !ok {
		return vault.Secret{}, noKey{person}
	}
	return s.vault.Unwrap(wrapped)
}

// seal returns the command with its personal data sealed. Keys that are wanting are made on the way, for
// callers who may do the command.
func (s *sealer) seal(ctx context.Context, c machine.Command) (machine.Command, error) {
	if !s.machine.IsPersonal(c.Kind) {
		return c, nil
	}
	for range maxNewKeys {
		state := &rows{circle: s.circle}
		sealed, err := s.machine.Seal(c, s.sealing(state, c.ID))
		if state.failed != nil {
			return c, state.failed
		}
		var wanting noKey
		if !errors.As(err, &wanting) {
			return sealed, err
		}
		if err := s.makeKey(ctx, c, wanting.person); err != nil {
			return c, err
		}
	}
	return c, fmt.Errorf("seal %s: too many people without a key", c.Kind)
}

// rows reads the running state a row at a time: sealing takes a while, and nothing is applied during a Read.
type rows struct {
	circle replicaOf
	failed error
}

// Get implements machine.Reader.
func (s *rows) Get(key []byte) (value []byte, ok bool) {
	s.read(func(r machine.Reader) {
		value, ok = r.Get(key)
		value = bytes.Clone(value)
	})
	return value, ok
}

// Ascend implements machine.Reader.
func (s *rows) Ascend(prefix, from []byte, fn func(key, value []byte) bool) {
	s.read(func(r machine.Reader) { r.Ascend(prefix, from, fn) })
}

// Descend implements machine.Reader.
func (s *rows) Descend(prefix, from []byte, fn func(key, value []byte) bool) {
	s.read(func(r machine.Reader) { r.Descend(prefix, from, fn) })
}

func (s *rows) read(fn func(machine.Reader)) {
	err := s.circle.Read(func(r machine.Reader) error {
		fn(r)
		return nil
	})
	if err != nil {
		s.failed = err
	}
}

func (s *sealer) sealing(r machine.Reader, id machine.ID) machine.Sealing {
	return machine.Sealing{
		Reader: r,
		Under: func(of, place string, p machine.Private) (machine.Private, error) {
			if p.IsSealed() || len(p.Data) == 0 {
				return p, nil
			}
			key, err := s.key(r, of)
			return vault.SealText(key, of, id, place, p.Data), err
		},
		Letter: func(of string, text []byte) ([]byte, error) {
			key, err := s.key(r, of)
			return vault.SealLetter(vault.LetterKey(key, id), text), err
		},
	}
}

// makeKey makes a person's key, if the caller of the command that asks for one may do it.
func (s *sealer) makeKey(ctx context.Context, c machine.Command, person string) error {
	err := s.circle.Read(func(r machine.Reader) error {
		if p, ok := member.Find(r, person); ok && p.Status == member.Left {
			_, err := member.Known(r, person)
			return err
		}
		return s.machine.May(machine.Read{Reader: r, Now: time.Now().UnixMilli()}, c)
	})
	if err != nil {
		return err
	}
	return s.addKey(ctx, person)
}

// under seals what the node itself found for a person, who is known here.
func (s *sealer) under(
	ctx context.Context, id machine.ID, person, place string, p machine.Private,
) (machine.Private, error) {
	for range maxNewKeys {
		var sealed machine.Private
		err := s.circle.Read(func(r machine.Reader) error {
			var err error
			sealed, err = s.sealing(r, id).Under(person, place, p)
			return err
		})
		var wanting noKey
		if !errors.As(err, &wanting) {
			return sealed, err
		}
		if err := s.addKey(ctx, person); err != nil {
			return p, err
		}
	}
	return p, fmt.Errorf("seal words for %s: no key could be made", person)
}

func (s *sealer) addKey(ctx context.Context, person string) error {
	under, err := s.current(ctx)
	if err != nil {
		return err
	}
	wrapped := vault.Wrap(under, person, vault.NewSecret())
	err = s.do(ctx, "member.key", member.AddKey{
		Person: person, Version: wrapped.Version, Wrapped: wrapped.Wrapped,
	})
	if err != nil && machine.AsError(err).Code != "vault_stale" { // stale: another try finds the newer one
		return fmt.Errorf("make a person's key: %w", err)
	}
	return s.until(ctx, func(r machine.Reader) bool {
		_, ok := member.KeyOf(r, person)
		return ok || err != nil
	})
}

// until waits for a command that another replica may have applied first.
func (s *sealer) until(ctx context.Context, applied func(r machine.Reader) bool) error {
	for {
		var ok bool
		err := s.circle.Read(func(r machine.Reader) error {
			ok = applied(r)
			return nil
		})
		if err != nil || ok {
			return err
		}
		poll := time.NewTimer(keyPoll)
		select {
		case <-poll.C:
		case <-ctx.Done():
			poll.Stop()
			return ctx.Err()
		}
	}
}

// do does a command of the node's own. A refusal is an error.
func (s *sealer) do(ctx context.Context, kind string, body any) error {
	id, err := api.NewID()
	if err != nil {
		return err
	}
	c, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorNode}, 0, kind, body)
	if err != nil {
		return err
	}
	if c, err = s.seal(ctx, c); err != nil {
		return err
	}
	out, err := s.circle.Do(ctx, c)
	if err == nil && out.Refusal != nil {
		err = out.Refusal
	}
	return err
}

// current returns the key of the vault in use; the first one is made here.
func (s *sealer) current(ctx context.Context) (vault.Entry, error) {
	now, ok, err := s.inUse()
	if err != nil {
		return vault.Entry{}, err
	}
	if !ok {
		if err := s.take(ctx, vaultsFirst); err != nil && machine.AsError(err).Code != "vault_stale" {
			return vault.Entry{}, err
		}
		err := s.until(ctx, func(r machine.Reader) bool {
			now, ok = member.TheVault(r)
			return ok
		})
		if err != nil {
			return vault.Entry{}, err
		}
	}
	return s.entry(ctx, now)
}

func (s *sealer) inUse() (now member.Vault, ok bool, err error) {
	err = s.circle.Read(func(r machine.Reader) error {
		now, ok = member.TheVault(r)
		return nil
	})
	return now, ok, err
}

// entry finds the vault's key that the log names, here or with the other replicas.
func (s *sealer) entry(ctx context.Context, now member.Vault) (vault.Entry, error) {
	if e, ok := s.vault.Export(now.Version, now.Mark); ok {
		return e, nil
	}
	if s.others == nil {
		return vault.Entry{}, fmt.Errorf("the vault's key %d is not in this node's directory, or it is"+
			" damaged; restore the file %s from the newest backup", now.Version, vault.FileName)
	}
	e, err := s.others.Fetch(ctx, now.Version, now.Mark)
	if err != nil {
		return vault.Entry{}, fmt.Errorf("fetch the vault's key %d: %w", now.Version, err)
	}
	if e.Version != now.Version || e.Mark() != now.Mark {
		return vault.Entry{}, fmt.Errorf("fetch the vault's key %d: another one came", now.Version)
	}
	return e, s.vault.Import(e)
}

// take makes a key of the vault, has a majority hold it on disk, and only then has the log name it.
func (s *sealer) take(ctx context.Context, version uint32) error {
	e, err := s.vault.Make(version)
	if err != nil {
		return err
	}
	if s.others != nil {
		if err := s.others.Distribute(ctx, e); err != nil {
			return fmt.Errorf("distribute the vault's key %d: %w", version, err)
		}
	}
	return s.carry(ctx, e)
}

// carry has the log carry people's keys over to a key of the vault, as many as fit one command.
func (s *sealer) carry(ctx context.Context, to vault.Entry) error {
	body := member.SetVault{Version: to.Version, Mark: to.Mark()}
	err := s.circle.Read(func(r machine.Reader) error {
		for _, k := range member.KeysUnder(r, to.Version) {
			key, err := s.vault.Unwrap(k)
			if err != nil {
				return fmt.Errorf("carry a person's key over: %w", err)
			}
			body.Keys = append(body.Keys, vault.Wrap(to, k.Person, key))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.do(ctx, "member.vault", body)
}

// turn finishes erasures: after each, a new key of the vault takes over for everybody else, and the old one
// is destroyed, and with it whatever the erased person's key opened. It takes up where a crash left it.
func (s *sealer) turn(ctx context.Context) error {
	s.turning.Lock()
	defer s.turning.Unlock()
	for range maxTurns {
		var now member.Vault
		var due, behind bool
		err := s.circle.Read(func(r machine.Reader) error {
			now, _ = member.TheVault(r)
			due = member.ToTurn(r)
			behind = s.vault.Old() && len(member.KeysUnder(r, now.Version)) > 0
			return nil
		})
		if err != nil {
			return err
		}
		switch {
		case behind:
			var e vault.Entry
			if e, err = s.entry(ctx, now); err == nil {
				err = s.carry(ctx, e)
			}
		case due:
			err = s.take(ctx, now.Version+1)
		default:
			return nil
		}
		if err != nil && machine.AsError(err).Code != "vault_stale" {
			return err
		}
	}
	return errors.New("the vault does not come to rest")
}

// drop destroys the keys of the vault that the log has done with, and what this process opened with them.
func (s *sealer) drop() error {
	if !s.vault.Old() {
		return nil
	}
	var now member.Vault
	var behind bool
	err := s.circle.Read(func(r machine.Reader) error {
		now, _ = member.TheVault(r)
		behind = len(member.KeysUnder(r, now.Version)) > 0
		return nil
	})
	if err != nil {
		return err
	}
	return s.vault.Keep(func(e vault.Entry) bool {
		switch {
		case e.Version == now.Version:
			return e.Mark() == now.Mark
		case e.Version < now.Version:
			return behind
		default:
			return true // made, and not in the log yet
		}
	})
}

// tend keeps the vault as the log says, until ctx ends. Only the leader starts a turn.
func (s *sealer) tend(ctx context.Context, leads func() bool) {
	tick := time.NewTicker(vaultEvery)
	defer tick.Stop()
	for {
		if err := s.tendOnce(ctx, leads()); err != nil && ctx.Err() == nil {
			s.log.Warn("the vault is not as it should be; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *sealer) tendOnce(ctx context.Context, leads bool) error {
	if leads {
		if err := s.turn(ctx); err != nil {
			return err
		}
	}
	if now, ok, err := s.inUse(); err != nil {
		return err
	} else if ok {
		if _, err := s.entry(ctx, now); err != nil {
			return err
		}
	}
	return s.drop()
}

// writeLook writes down a read of what is kept closely about a person, before it is answered.
func (s *sealer) writeLook(ctx context.Context, by machine.Caller, name string,
	set func(query any) error,
) error {
	var look machine.Look
	var due bool
	err := s.circle.Read(func(r machine.Reader) error {
		rd := machine.Read{Reader: r, Caller: by, Now: max(time.Now().UnixMilli(), machine.ReadMeta(r).At)}
		var err error
		look, due, err = s.machine.ToWrite(rd, name, set)
		return err
	})
	if err != nil || !due {
		return err
	}
	return s.do(ctx, "member.looked", member.Looked{
		Person: look.Person, By: by.Actor, View: look.View, Reason: machine.Text("", look.Reason),
	})
}

// named returns a refusal with the people in it by name, as far as the caller may know them.
func (s *sealer) named(by machine.Caller, e *machine.Error) (*machine.Error, error) {
	told := *e
	err := s.circle.Read(func(r machine.Reader) error {
		rd := machine.Read{Reader: r, Caller: by, Now: max(time.Now().UnixMilli(), machine.ReadMeta(r).At)}
		told.Message = member.Named(s.machine.Opened(rd), e.Message)
		return nil
	})
	return &told, err
}
