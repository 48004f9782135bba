package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/vault"
)

// hearingPatience is how long a command waits for another circle to be heard for the first time.
const hearingPatience = 3 * time.Second

// openVault opens the vault and gives the machine's views the means to open what is sealed. The replica comes
// later: until then nothing is asked of the sealer.
func (n *Node) openVault() error {
	v, err := vault.Open(n.files)
	if err != nil {
		return err
	}
	n.sealer = &sealer{vault: v, others: n.options.others, log: n.options.Log}
	n.machine = n.machine.Opening(n.sealer.open)
	n.sealer.machine = n.machine
	if !n.files.Sealed() {
		n.options.Log.Warn("the keys of this node lie in its directory unsealed;" +
			" stop it and seal them: carecircle keys seal")
	}
	return nil
}

// checkCircle makes sure that the circle's key is that of the circle whose books these are.
func (n *Node) checkCircle() error {
	c, ok := member.TheCircle(n.state)
	if ok && c.ID != string(n.Keys.CircleID()) {
		return fmt.Errorf("%s in %s is not the key of the circle %s, whose books are there: it was changed"+
			" or is damaged; restore it from a backup", circleKey, n.Dir, c.ID)
	}
	return n.checkHost()
}

// checkHost makes sure that this machine's key is the one the circle knows it by: with another the other
// replicas would not speak with it, and it could only wait. A restored circle's machine has a new one.
func (n *Node) checkHost() error {
	note, err := n.toOpen(n.state)
	if err != nil || note != nil {
		return err
	}
	id := replicas.First
	if n.Config.Replica != nil {
		id = n.Config.Replica.ID
	}
	p, ok := replicas.Find(n.state, id)
	if ok && !n.Keys.HostPublic().Equal(ed25519.PublicKey(p.Host)) {
		return fmt.Errorf("%s in %s is not the key by which the circle knows its replica %q: it was changed"+
			" or is damaged; put it back, or remove the replica and let this machine join as a new one in"+
			" an empty directory", hostKey, n.Dir, id)
	}
	return nil
}

// checkVault makes sure that the vault opens what people have written; with other replicas there is time to
// fetch its key from them.
func (n *Node) checkVault() error {
	now, ok, err := n.sealer.inUse()
	if err == nil && ok && n.company == nil {
		_, err = n.sealer.entry(context.Background(), now)
	}
	return err
}

// Vault returns the vault, for handing its keys to the circle's other replicas and to backups.
func (n *Node) Vault() *vault.Vault { return n.sealer.vault }

// Do has the circle do a command; see replica.Do. While there is no room on the disk it returns lowDisk as an
// error. What is personal in it is sealed first, and the people a refusal speaks of are named as far as the
// caller may know them.
func (n *Node) Do(ctx context.Context, c machine.Command) (machine.Outcome, error) {
	if n.low() {
		return machine.Outcome{}, fmt.Errorf("do %s: %w", c.Kind, lowDisk)
	}
	if version, ok := machine.Activates(c); ok && c.Actor == machine.ActorOperator {
		if refusal := n.mayActivate(ctx, version); refusal != nil {
			return machine.Outcome{Kind: c.Kind, Refusal: refusal}, nil
		}
	}
	sealed, err := n.sealer.seal(ctx, c)
	var refusal *machine.Error
	if errors.As(err, &refusal) {
		return machine.Outcome{Kind: c.Kind, Refusal: refusal}, nil
	}
	if err != nil {
		return machine.Outcome{}, err
	}
	out, err := n.heard(ctx, sealed)
	if err != nil {
		return out, err
	}
	if out.Refusal != nil {
		out.Refusal, err = n.sealer.named(c.Caller, out.Refusal)
		return out, err
	}
	if done, ok := out.Result.(member.Erased); ok {
		done.Copies = n.copies(ctx)
		out.Result = n.afterErasure(ctx, done)
	}
	return out, nil
}

// heard does a command. Where another circle has to be heard first, as it has for a moment after every start,
// it is given a little time: that refusal is not final.
func (n *Node) heard(ctx context.Context, c machine.Command) (machine.Outcome, error) {
	patience := time.NewTimer(hearingPatience)
	defer patience.Stop()
	for {
		out, err := n.counted(ctx, c)
		if err != nil || out.Refusal == nil || out.Refusal.Code != "not_heard" ||
			c.Actor == machine.ActorNode {
			return out, err
		}
		again := time.NewTimer(lettersEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return out, nil
		case <-patience.C:
			again.Stop()
			return out, nil
		case <-again.C:
		}
	}
}

// afterErasure destroys the key at once rather than at the next look. A failure leaves it to the next look.
func (n *Node) afterErasure(ctx context.Context, done member.Erased) member.Erased {
	ctx, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	n.sealer.vault.Forget(done.Person)
	err := n.sealer.turn(ctx)
	if err == nil {
		err = n.sealer.drop()
	}
	if err != nil {
		n.options.Log.Warn("an erasure is not finished yet; trying again", "err", err)
	}
	return done
}

// View answers a view; see replica.View. A read of what is kept closely about somebody is written down first.
func (n *Node) View(ctx context.Context, by machine.Caller, name string, set func(query any) error) (any,
	error,
) {
	if err := n.sealer.writeLook(ctx, by, name, set); err != nil {
		return nil, err
	}
	got, err := n.replica.View(ctx, by, name, set)
	n.watched.metrics.View(name, outcomeOf(nil, err))
	if e, ok := got.(member.Erasures); ok && err == nil {
		copies := n.copies(ctx)
		for i := range e.Erased {
			for _, c := range copies {
				if c.Made <= e.Erased[i].At {
					e.Erased[i].Copies = append(e.Erased[i].Copies, c)
				}
			}
		}
	}
	return got, err
}

// doAsNode does a command of this machine's own. A refusal is an error.
func (n *Node) doAsNode(ctx context.Context, kind string, body any) error {
	_, err := n.resultAsNode(ctx, kind, body)
	return err
}

func (n *Node) resultAsNode(ctx context.Context, kind string, body any) (any, error) {
	id, err := api.NewID()
	if err != nil {
		return nil, err
	}
	c, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorNode}, 0, kind, body)
	if err != nil {
		return nil, err
	}
	out, err := n.Do(ctx, c)
	if err == nil && out.Refusal != nil {
		err = out.Refusal
	}
	return out.Result, err
}

// leads tells whether this replica leads the circle.
func (n *Node) leads() bool { return n.replica.Leads() }

var _ replicaOf = (*replica.Replica)(nil)

// Fresh returns once reads at this node see all that was answered before; see replica.Fresh.
func (n *Node) Fresh(ctx context.Context) error { return n.replica.Fresh(ctx) }
