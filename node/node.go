// Package node joins the parts of one running node: its stores, the replica, the gate, the API and pages, and
// the letters to and from other circles. It decides nothing about care or coins.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	flushEvery   = time.Second
	readyTimeout = 60 * time.Second
	sayEvery     = 10 * time.Second // while a start waits for other replicas
	stopTimeout  = 5 * time.Second
	longLog      = 20_000 // entries beyond the newest snapshot
)

// Options are what a start may choose.
type Options struct {
	Log     *slog.Logger
	Version string
	// Fatal is called once when the node must not go on; nil: the process ends with exit code 3.
	Fatal func(error)
	// Master says where the master key comes from, where the node's keys are sealed.
	Master vault.Master
	// Baseline has the bench compare: BaselineBolt or BaselineMemory. No circle is kept on one.
	Baseline string

	others Others // instead of the circle's replicas; tests only
}

// Node is one running node.
type Node struct {
	Dir    string
	Config Config
	Keys   Keys

	options Options
	files   *vault.Files
	sealer  *sealer
	machine *machine.Machine
	state   *stateBox
	log     *store.Log
	replica *replica.Replica
	// baseline is what the replica runs on in place of its own stores; nil, but in a bench.
	baseline io.Closer
	company  *company // nil: this is the circle's only replica
	letters  *letters
	verified *verified
	http     *http.Server
	listen   net.Listener
	card     atomic.Pointer[[]byte]
	backups  *backup.Keeper // nil: the config asks for none
	started  time.Time
	watched  watched
	room     room
	scrubs   scrubs
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// Open starts the node in a directory that Init made, and returns when it is ready to serve.
func Open(ctx context.Context, dir string, o Options) (*Node, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{Dir: dir, options: o, started: time.Now()}
	err := n.open(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the node in %s: %w", dir, err), n.Close())
	}
	n.watched.ready.Store(int64(time.Since(n.started)))
	o.Log.Info("ready", "circle", n.Keys.CircleID(), "http", n.Addr(), "after",
		n.readyAfter().Round(time.Millisecond))
	return n, nil
}

// OpenStopped opens the stores and the replica of a node that is not running, for reading: no address is
// listened on and no letter sent.
func OpenStopped(ctx context.Context, dir string, o Options) (*Node, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := os.Stat(filepath.Join(dir, stateDir)); err != nil {
		return nil, fmt.Errorf("the node in %s has never been served: %w", dir, err)
	}
	n := &Node{Dir: dir, options: o, started: time.Now()}
	err := n.readOwn()
	if err == nil {
		err = n.openCircle(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the node in %s: %w", dir, err), n.Close())
	}
	return n, nil
}

// readOwn reads what is this machine's own.
func (n *Node) readOwn() error {
	var err error
	if n.Config, err = ReadConfig(n.Dir); err != nil {
		return err
	}
	if n.files, err = n.Config.files(n.Dir, n.options.Master); err != nil {
		return err
	}
	n.Keys, err = ReadKeys(n.files)
	return err
}

// openCircle opens everything up to a replica that is ready.
func (n *Node) openCircle(ctx context.Context) error {
	var err error
	n.verified = newVerified()
	if n.machine, err = circle.With(exchange.Options{Verify: n.verified.check}); err != nil {
		return err
	}
	n.openMetrics()
	if err := n.openScrubs(); err != nil {
		return err
	}
	if err := n.openVault(); err != nil {
		return err
	}
	err = n.openStores()
	if isOneOf(err, damages) {
		err = n.heal(ctx, err)
	}
	if err != nil {
		return err
	}
	if err := n.openCompany(); err != nil {
		return err
	}
	if err := n.openReplica(ctx); err != nil {
		return err
	}
	if err := n.checkVault(); err != nil {
		return err
	}
	return n.openEpoch(ctx)
}

func (n *Node) open(ctx context.Context) error {
	if err := n.readOwn(); err != nil {
		return err
	}
	if err := n.openSpace(); err != nil {
		return err
	}
	if err := n.openCircle(ctx); err != nil {
		return err
	}
	if err := n.foundIfNew(ctx); err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	if err := n.openLetters(background); err != nil {
		return err
	}
	if n.company != nil {
		n.company.mesh.HandleJoin(n.company.joins) // not before: a restored circle begins its epoch first
		n.running.Go(func() { n.company.run(background) })
		n.running.Go(func() { n.company.survey(background) })
	}
	n.running.Go(func() { n.watchSpace(background) })
	n.running.Go(func() { n.keepFlushed(background) })
	n.running.Go(func() { n.keepScrubbed(background) })
	n.running.Go(func() { n.keepDiskRead(background) })
	n.keepBackups(background)
	n.running.Go(func() { n.sealer.tend(background, n.leads) })
	return n.openHTTP()
}

func (n *Node) stateConfig() store.StateConfig {
	return store.StateConfig{
		Dir: filepath.Join(n.Dir,
			stateDir), EncryptionKey: n.Keys.Store[:], SnapshotKey: n.Keys.snapshot(), Log: n.options.Log,
		Fatal: n.fatal, Wrote: n.watched.metrics.Flush,
	}
}

func (n *Node) openStores() error {
	if err := n.markedDamage(); err != nil {
		return err
	}
	state, err := store.OpenState(n.stateConfig())
	if err != nil {
		return err
	}
	n.state = &stateBox{State: state, config: n.stateConfig(), metrics: n.watched.metrics}
	if n.log, err = store.OpenLog(n.logConfig()); err != nil {
		return err
	}
	snapshots := filepath.Join(n.Dir, snapshotDir)
	if err := store.Bind(state, n.log, snapshots); err != nil {
		return err
	}
	if err := store.BindHome(n.Dir, state); err != nil {
		return err
	}
	if err := n.checkCircle(); err != nil {
		return err
	}
	if err := replica.Check(snapshots, n.state, n.log, n.options.Log); err != nil {
		return fmt.Errorf("%w: %w", store.ErrApart, err)
	}
	return nil
}

func (n *Node) logConfig() store.LogConfig {
	return store.LogConfig{
		Dir: filepath.Join(n.Dir, logDir), EncryptionKey: n.Keys.Store[:], Log: n.options.Log, Fatal: n.fatal,
	}
}

func (n *Node) openReplica(ctx context.Context) error {
	cfg := replica.Config{
		ID: replicas.First, Dir: filepath.Join(n.Dir, snapshotDir), Machine: n.machine, State: n.state,
		Log: n.log, Restore: n.state.restore, Logger: n.options.Log, Fatal: n.fatal,
		Wrote: n.watched.metrics.LogAppend,
	}
	n.company.joinIn(&cfg)
	var err error
	if n.baseline, err = n.openBaseline(&cfg); err != nil {
		return err
	}
	if n.replica, err = replica.Open(cfg); err != nil {
		return err
	}
	n.sealer.circle = n.replica
	n.company.serve()
	if n.Config.Replica == nil || !n.Config.Replica.Joined {
		if err := n.replica.Bootstrap(); err != nil {
			return err
		}
	}
	return n.awaitReady(ctx)
}

// awaitReady waits until this replica has all that the circle has answered. A circle's only replica has it
// soon or never; one of several may have to wait for the others, or to fetch much, and says so meanwhile.
func (n *Node) awaitReady(ctx context.Context) error {
	if n.company == nil {
		ctx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		return n.replica.Ready(ctx)
	}
	for {
		slice, cancel := context.WithTimeout(ctx, sayEvery)
		err := n.replica.Ready(slice)
		cancel()
		if err == nil || errors.Is(err, replica.ErrStopped) {
			return err
		}
		if err = n.company.notReady(ctx, err); ctx.Err() != nil {
			return err
		}
		s := n.replica.Status()
		n.options.Log.Warn("waiting for the circle's other replicas",
			"leader", s.Leader, "applied", s.Applied, "why", err)
	}
}

func (n *Node) fatal(err error) {
	n.options.Log.Error("this node must stop", "err", err)
	if errors.Is(err, store.ErrDamaged) {
		n.markDamaged(err)
	}
	if n.options.Fatal != nil {
		n.options.Fatal(err)
		return
	}
	exit(3)
}

// foundIfNew founds the circle at its first start, with the policy a new circle begins from.
func (n *Node) foundIfNew(ctx context.Context) error {
	by := machine.Caller{Actor: machine.ActorOperator}
	key := n.Keys.CirclePublic()
	first := []struct {
		kind string
		body any
	}{
		{"member.found", member.Found{
			Circle: string(n.Keys.CircleID()), Key: key, Name: n.Config.Name, Place: n.Config.Place,
			Aim:     n.Config.Aim,
			Founder: machine.Text("", n.Config.Founder),
		}},
		{"coin.policy", coin.SetPolicy{
			FloorMinutes: -300, WelcomeMinutes: 600, AutoGift: true, EarnDayMinutes: 720,
			ReviewOn: n.started.AddDate(0, 6, 0).Format(time.DateOnly), Decision: "as founded",
		}},
	}
	var founded bool
	err := n.replica.Read(func(r machine.Reader) error {
		_, err := coin.PolicyOf(r)
		founded = err == nil
		return nil
	})
	if err != nil {
		return err
	}
	if founded {
		return n.forgetFounder()
	}
	if err := n.Config.checkFounder(); err != nil {
		return err
	}
	for _, f := range first {
		c, err := machine.NewCommand(n.Keys.firstID(f.kind), by, 0, f.kind, f.body)
		if err != nil {
			return err
		}
		out, err := n.Do(ctx, c)
		if err != nil {
			return fmt.Errorf("found the circle: %w", err)
		}
		if out.Refusal != nil {
			return fmt.Errorf("found the circle: %w", out.Refusal)
		}
	}
	return n.forgetFounder()
}

// forgetFounder takes the founder's name out of the config: the circle has it now, sealed, and may be asked
// to erase it.
func (n *Node) forgetFounder() error {
	if n.Config.Founder == "" {
		return nil
	}
	n.Config.Founder = ""
	return writeConfig(n.Dir, n.Config)
}

// keepFlushed writes what the quiet hours left in memory; a storage error ends the process inside.
func (n *Node) keepFlushed(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := n.state.Flush(); err != nil {
				n.fatal(err)
				return
			}
		}
	}
}

// Close stops the node in order: no new requests, no letters, then the replica and its stores.
func (n *Node) Close() error {
	n.Drain()
	errs := []error{n.closeMetrics()}
	if n.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := n.http.Shutdown(ctx); err != nil {
			errs = append(errs, n.http.Close())
		}
	}
	if n.stop != nil {
		n.stop()
	}
	if n.letters != nil {
		errs = append(errs, n.letters.close())
	}
	n.running.Wait()
	if n.replica != nil {
		errs = append(errs, n.leaveShort())
		n.handOver()
		errs = append(errs, n.replica.Close())
	}
	errs = append(errs, n.company.close())
	if n.baseline != nil {
		errs = append(errs, n.baseline.Close())
	}
	if n.state != nil {
		errs = append(errs, n.state.Close())
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	return errors.Join(errs...)
}

// handOver has another replica lead at once, where this one does; else they would notice a little later.
func (n *Node) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.replica.HandOver(ctx, ""); err != nil {
		n.options.Log.Info("no other replica took over before this one stopped", "why", err)
	}
}

// leaveShort takes a snapshot where the log has grown long, so that the next start need not read through it.
func (n *Node) leaveShort() error {
	s := n.replica.Status()
	if s.Err != nil || s.Applied < s.SnapshotIndex+longLog {
		return nil
	}
	return n.replica.Snapshot()
}

// Addr returns the address the pages and the API listen on.
func (n *Node) Addr() string {
	if n.listen == nil {
		return ""
	}
	return n.listen.Addr().String()
}

// Origin returns how people reach the node's pages.
func (n *Node) Origin() string { return n.Config.origin() }

// Founder returns the id of the circle's first person.
func (n *Node) Founder() string { return member.PersonID(n.Keys.firstID("member.found")) }

// Founded returns when the circle was founded, by its own ledger time; zero before that.
func (n *Node) Founded() time.Time {
	var at time.Time
	err := n.Read(func(r machine.Reader) error {
		if c, ok := member.TheCircle(r); ok {
			at = time.UnixMilli(c.Founded)
		}
		return nil
	})
	if err != nil {
		return time.Time{}
	}
	return at
}

// Watch returns the events from now on; see replica.Watch.
func (n *Node) Watch() (<-chan []machine.Event, func()) { return n.replica.Watch() }

// Machine returns the circle's rules and views.
func (n *Node) Machine() *machine.Machine { return n.machine }

// Read gives fn the state between two commands; see replica.Read.
func (n *Node) Read(fn func(machine.Reader) error) error { return n.replica.Read(fn) }
