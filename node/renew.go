package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// renewed answers a replica that has lost its disks: its vote is taken away, and once raft's servers say so
// it may begin anew.
func (m *company) renewed(ctx context.Context, from string, _ []byte) ([]byte, error) {
	result, err := m.node.resultAsNode(ctx, "replicas.renew", replicas.Named{ID: from})
	if err != nil {
		return nil, err
	}
	life := result.(replicas.Renewed).Life
	m.log.Warn("a replica has lost its disks and begins anew", "replica", from, "life", life)
	poll := time.NewTicker(companyEvery)
	defer poll.Stop()
	for {
		for _, s := range m.node.replica.Servers() {
			if s.ID == from && s.Life == life && !s.Voter {
				return json.Marshal(replicas.Renewed{Life: life})
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// renew asks the others to let this replica begin anew, and returns once they have.
func (m *company) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewPatience)
	defer cancel()
	last := errors.New("there is no other replica")
	for ctx.Err() == nil {
		for _, p := range m.others() {
			if _, err := m.mesh.Call(ctx, p.ID, callRenew, nil); err != nil {
				last = fmt.Errorf("%s: %w", p.ID, err)
				continue
			}
			return nil
		}
		again := time.NewTimer(companyEvery)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
	return fmt.Errorf("the other replicas could not be asked to let this one begin anew: %w", last)
}

// damages are what stores say that are not as they were. A store's key is this node's own, which has been
// read whole by then: so a store that was made with another is damaged, or another's.
var damages = []error{store.ErrDamaged, store.ErrApart, store.ErrKey}

func isOneOf(err error, known []error) bool {
	return slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) })
}

const (
	damageFile = "DAMAGED" // says what is damaged; there until the replica began anew
	asideDir   = "damaged" // what was found damaged last, for whoever wants to look
)

// markDamaged notes damage found while the node ran, so that the next start does not go on from it.
func (n *Node) markDamaged(cause error) {
	path := filepath.Join(n.Dir, damageFile)
	if err := vault.WriteFile(path, []byte(cause.Error()+"\n"), 0o644); err != nil {
		n.options.Log.Error("the damage could not be noted", "err", err)
	}
}

// markedDamage returns what markDamaged noted as an error.
func (n *Node) markedDamage() error {
	path := filepath.Join(n.Dir, damageFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: noted in %s: %s", store.ErrDamaged, path, strings.TrimSpace(string(raw)))
}

// heal gives a replica with damaged disks a new beginning: the others take its vote away and send it their
// copy. What was damaged is set aside. A circle's only replica can do so with its state only.
func (n *Node) heal(ctx context.Context, damage error) error {
	if n.alone() {
		return n.rebuild(damage)
	}
	n.options.Log.Error("the books on this machine are damaged; asking the other replicas for theirs",
		"err", damage)
	if err := n.closeStores(); err != nil {
		return errors.Join(damage, err)
	}
	if err := n.openCompany(); err != nil {
		return errors.Join(damage, err)
	}
	if err := n.company.renew(ctx); err != nil {
		return errors.Join(damage, err)
	}
	if err := n.beginAnew(); err != nil {
		return errors.Join(damage, err)
	}
	n.options.Log.Warn("this replica begins anew with the others' copy; what was damaged is kept",
		"in", filepath.Join(n.Dir, asideDir))
	return n.openStores()
}

// alone tells whether no other replica is known.
func (n *Node) alone() bool {
	return n.Config.Replica == nil || !slices.ContainsFunc(n.lastCompany(), func(p replicas.Replica) bool {
		return p.ID != n.Config.Replica.ID && p.Status != replicas.Removed
	})
}

// rebuild makes the state anew out of log and snapshot, if those are whole and hold all of it. What it was
// damaged by is then of no account: the state is a function of them.
func (n *Node) rebuild(damage error) error {
	if errors.Is(damage, store.ErrApart) {
		return damage // what belongs where is for people to find out
	}
	if err := n.closeStores(); err != nil {
		return errors.Join(damage, err)
	}
	log, err := store.OpenLog(n.logConfig())
	if err != nil {
		return damageOf(damage, err)
	}
	snapshot, err := replica.Suffices(filepath.Join(n.Dir, snapshotDir), log, n.options.Log)
	if err := errors.Join(err, log.Close()); err != nil {
		return damageOf(damage, err)
	}
	n.options.Log.Error("the state on this machine is damaged; making it anew out of the log and the newest"+
		" snapshot, which are whole", "err", damage)
	if snapshot == nil {
		err = store.Reset(n.stateConfig())
	} else {
		err = errors.Join(store.Restore(n.stateConfig(), snapshot), snapshot.Close())
	}
	if err == nil {
		err = n.forgetDamage()
	}
	if err != nil {
		return damageOf(damage, err)
	}
	return n.openStores()
}

const aloneAdvice = "this is the circle's only replica, so there is no other copy: keep this directory, and" +
	" restore a backup into an empty one: carecircle restore"

// damageOf says what else stands in the way, once, and what to do.
func damageOf(damage, err error) error {
	if err.Error() == damage.Error() {
		return fmt.Errorf("%w; %s", damage, aloneAdvice)
	}
	return fmt.Errorf("%w; the state cannot be made anew either: %w; %s", damage, err, aloneAdvice)
}

// forgetDamage removes what markDamaged noted.
func (n *Node) forgetDamage() error {
	err := os.Remove(filepath.Join(n.Dir, damageFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// closeStores closes what a start had opened before it met damage.
func (n *Node) closeStores() error {
	var errs []error
	if n.state != nil {
		errs = append(errs, n.state.Close())
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	n.state, n.log = nil, nil
	return errors.Join(errs...)
}

// beginAnew makes room for the others' copy. From here on this is a replica that joined, even if it was the
// circle's first: with empty stores it must not begin a circle.
func (n *Node) beginAnew() error {
	n.Config.Replica.Joined = true
	if err := writeConfig(n.Dir, n.Config); err != nil {
		return err
	}
	if err := store.UnbindHome(n.Dir); err != nil {
		return err
	}
	return n.setAside()
}

// setAside moves the stores out of the way. Doing it again after a crash moves the rest.
func (n *Node) setAside() error {
	aside := filepath.Join(n.Dir, asideDir)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(n.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := f.Name()
		place, _, _ := strings.Cut(name, ".") // a store's directory, or what it keeps beside
		if place != stateDir && place != logDir && place != snapshotDir {
			continue
		}
		if err := os.Rename(filepath.Join(n.Dir, name), filepath.Join(aside, name)); err != nil {
			return err
		}
	}
	if err := vault.SyncDir(n.Dir); err != nil {
		return err
	}
	return n.forgetDamage()
}
