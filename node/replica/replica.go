// Package replica runs one circle's machine on a replicated log. It proposes commands, applies what was
// committed to the state, in log order, and answers views; hashicorp/raft decides what is committed. It
// holds no rules: what a command does is the machine's business, where rows are kept is the state's.
package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// Limits and times of a replica.
const (
	doLimit         = 10 * time.Second       // the longest a Do waits
	proposeAgain    = 3 * time.Second        // without an answer, a Do proposes the same bytes again
	maxProposals    = 8                      // of one Do
	leaderPoll      = 50 * time.Millisecond  // how often to look who leads while nobody does
	stuckAfter      = 9 * time.Second        // a leader that applies nothing for so long is broken
	slowWriteAfter  = 10 * time.Second       // a disk that takes so long is as good as lost
	watchdogEvery   = time.Second            //
	soloTimeout     = 200 * time.Millisecond // of a circle with one replica: it has nobody to wait for
	severalTimeout  = time.Second            // without a word from the leader another one is elected
	leaseTimeout    = 500 * time.Millisecond // after which a leader who reaches no majority gives up
	commitTimeout   = 20 * time.Millisecond  // after which the others hear of a commit that nothing follows
	maxAppend       = 256                    // entries written to the log with one sync
	maxEventsWaited = 1024                   // newest events kept for a watcher that does not read
	notifyBuffer    = 16                     // leadership changes not yet looked at
	markBytes       = 16                     // random bytes of a mark, see fsm

	snapshotsKept     = 2
	snapshotThreshold = 16384 // log entries
	trailingLogs      = 10240 // log entries kept behind a snapshot, for replicas that lag
	snapshotInterval  = 2 * time.Minute
	snapshotAge       = 24 * time.Hour // after which a quiet circle takes one as well
	snapshotAgeEvery  = time.Hour
)

// Errors of a replica. Refusals are not errors: they are outcomes.
var (
	// ErrUnknown says that a command may or may not have been done, or may be done yet.
	ErrUnknown = errors.New("it is not known whether the command was done: ask again with the same id")
	// ErrNotLeader says that another replica, or none, leads. Alone it means that nothing was proposed.
	ErrNotLeader = errors.New("this replica does not lead its circle")
	// ErrStopped says that the replica was closed, or stopped because it could not go on.
	ErrStopped = errors.New("this replica has stopped")
)

// State is the circle's state. One goroutine writes (Set, Delete, Commit, Sync, Sum, Snapshot); readers are
// kept out of Set, Delete and Commit. A storage error in a method without an error must end the process.
type State interface {
	machine.KV
	// Applied returns the log index of the last Commit, after opening that of the state on disk.
	Applied() uint64
	// Commit says that every write since the last Commit belongs to log entry index.
	Commit(index uint64)
	// Sync returns when everything committed would outlive a power cut.
	Sync() error
	// Sum returns how many rows there are as of the last Commit, and a sum over them that differs when one
	// differs. It must be quick: nothing is applied meanwhile.
	Sum() (rows, sum uint64, err error)
	// Snapshot returns an unchanging view of the state as of the last Commit, Applied included.
	Snapshot() (Snap, error)
}

// Snap is a view of the state to be written out: sealed, for disks and other replicas, or in clear, for
// whoever seals it. Close is called once, when no more is needed.
type Snap interface {
	WriteTo(w io.Writer) (int64, error)
	WriteClear(w io.Writer) (int64, error)
	Close()
}

// Store is raft's log and stable store; every write must be on disk when it returns.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// Config says what a replica runs on. All is needed unless it says otherwise.
type Config struct {
	ID        string // this replica's, for ever
	Dir       string // of the snapshots; not needed where Snapshots is given
	Machine   *machine.Machine
	State     State
	Log       Store
	Transport raft.Transport     // nil: none, for a circle with one replica
	Snapshots raft.SnapshotStore // nil: files in Dir, the newest two kept
	// Several says that there may be other replicas; a circle that has them must set it.
	Several bool
	// Restore replaces the state by a snapshot: State shows the restored one when it returns nil. Readers
	// are kept out and every Snap is closed meanwhile. An error is fatal.
	Restore func(io.Reader) error
	// AskIndex asks the replica that leads for its Index, AskTerm another one for its Term. Without them
	// reads are Fresh in a circle with one replica only.
	AskIndex func(ctx context.Context, leader string) (uint64, error)
	AskTerm  func(ctx context.Context, id string) (uint64, error)
	// Forward hands a command to the replica that leads, named by its id; nil: Do returns ErrNotLeader. It
	// returns ErrNotLeader only if nothing was proposed there.
	Forward func(ctx context.Context, leader string, c machine.Command) (machine.Outcome, error)
	// Wrote is told of every write of entries to the log, and how long it took; nil: nobody is.
	Wrote  func(entries int, took time.Duration)
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: silent
	// Fatal is called once, when this replica must not go on: the process should end. It must not wait
	// for the replica; Close may be called after it has returned.
	Fatal func(error)

	tune func(*raft.Config) // tests only
}

// Replica is one running replica of a circle. Its methods may be called from any goroutine.
type Replica struct {
	cfg      Config
	log      *slog.Logger
	raft     *raft.Raft
	snaps    raft.SnapshotStore
	disk     *timedStore
	shutdown func() raft.Future // once; its future waits for raft's goroutines

	mu sync.RWMutex // the state: written by raft's apply goroutine, read by all others

	stamps   stamps
	waiting  waiting
	pulse    pulse
	watches  watches
	proposer proposer
	progress progress
	verifier verifier
	applied  atomic.Uint64 // log index of the newest entry in the state
	led      atomic.Uint64 // the term in which this leader knows all that was committed before it
	leading  chan struct{} // held while it finds out
	frozen   frozenSet
	scrubs   scrubs

	snapshotAt atomic.Int64 // Unix milliseconds of the newest snapshot, 0: not known

	stopOnce, fatalOnce sync.Once
	stopped             chan struct{}
	cause               error // why it stopped; set before stopped is closed
	running             sync.WaitGroup
}

// Open starts a replica on its stores. It restores the newest snapshot if the state is older than that, and
// fails if log, snapshots and state do not belong together. After a first Open comes Bootstrap; after every
// Open, Ready.
func Open(cfg Config) (*Replica, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open replica: %w", err)
	}
	r := &Replica{cfg: cfg, log: cfg.Logger, stopped: make(chan struct{}), leading: make(chan struct{}, 1)}
	r.waiting.init()
	r.pulse.init()
	r.proposer.init(r.handToRaft)
	r.disk = newTimedStore(cfg.Log, r.fail, cfg.Wrote)
	cfg.Transport = r.disk.leaveSyncs(cfg.Transport)
	if r.snaps, err = cfg.snapshots(); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.ID, err)
	}
	r.snaps = watchedSnaps{r.snaps, r.fail}
	fsm := &fsm{r: r}
	if fsm.seen, err = r.catchUp(); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.ID, err)
	}
	if err := machine.Understood(cfg.State); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.ID, err)
	}
	r.applied.Store(cfg.State.Applied())
	if err := r.undoHalfBootstrap(); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.ID, err)
	}
	notify := make(chan bool, notifyBuffer)
	r.raft, err = raft.NewRaft(cfg.raft(notify), fsm, r.disk, r.disk, r.snaps, cfg.Transport)
	if err != nil {
		return nil, fmt.Errorf("open replica %s: start raft: %w", cfg.ID, err)
	}
	r.disk.follow(r.raft)
	r.shutdown = sync.OnceValue(func() raft.Future { return r.raft.Shutdown() })
	r.pace()
	r.running.Go(func() { r.attend(notify) })
	r.running.Go(r.snapshotByAge)
	r.running.Go(func() { r.proposer.run(r.stopped) })
	if n := len(r.raft.GetConfiguration().Configuration().Servers); n > 1 && !cfg.Several {
		return nil, errors.Join(fmt.Errorf("open replica %s: its circle has %d replicas: set Several",
			cfg.ID, n), r.Close())
	}
	return r, nil
}

func (cfg Config) withDefaults() (Config, error) {
	missing := ""
	switch {
	case cfg.ID == "":
		missing = "ID"
	case cfg.Machine == nil:
		missing = "Machine"
	case cfg.State == nil:
		missing = "State"
	case cfg.Log == nil:
		missing = "Log"
	case cfg.Transport == nil && cfg.Several:
		missing = "Transport"
	case cfg.Snapshots == nil && cfg.Dir == "":
		missing = "Dir or Snapshots"
	case cfg.Restore == nil:
		missing = "Restore"
	case cfg.Fatal == nil:
		missing = "Fatal"
	}
	if missing != "" {
		return cfg, fmt.Errorf("%s is not set", missing)
	}
	return cfg.withQuietDefaults(), nil
}

func (cfg Config) withQuietDefaults() Config {
	if cfg.Transport == nil {
		_, cfg.Transport = raft.NewInmemTransport(raft.ServerAddress(cfg.ID)) // leads nowhere
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func (cfg Config) snapshots() (raft.SnapshotStore, error) {
	if cfg.Snapshots != nil {
		return cfg.Snapshots, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the snapshot directory: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, snapshotsKept, raftLogger(cfg.Logger))
	if err != nil {
		return nil, fmt.Errorf("open the snapshots in %s: %w", cfg.Dir, err)
	}
	return snaps, nil
}

// raft makes raft's own configuration.
//
// RestoreCommittedLogs stays off even where the store tracks commits: in raft 1.8.0 it skips the
// configuration entries it replays, so a restarted replica no longer knows its peers (none: it never leads
// again), and it hangs once more than 128 batches are to be replayed. Ready does what is needed.
func (cfg Config) raft(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.ID)
	c.NotifyCh = notify
	c.Logger = raftLogger(cfg.Logger)
	c.NoSnapshotRestoreOnStart = true // the state is on disk already, see catchUp
	c.NoLegacyTelemetry = true
	c.MaxAppendEntries = maxAppend
	c.BatchApplyCh = true
	c.SnapshotThreshold = snapshotThreshold
	c.SnapshotInterval = snapshotInterval
	c.TrailingLogs = trailingLogs
	c.ShutdownOnRemove = false // the node stops, and says why
	timeout := soloTimeout
	if cfg.Several {
		timeout = leaseTimeout // until pace sees how many there are
		c.CommitTimeout = commitTimeout
	}
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = timeout, timeout, timeout
	if cfg.tune != nil {
		cfg.tune(c)
	}
	return c
}

// Bootstrap makes this replica the only one of a new circle. It does nothing where there is a
// configuration already.
func (r *Replica) Bootstrap() error {
	if len(r.raft.GetConfiguration().Configuration().Servers) > 0 {
		return nil
	}
	self := raft.Server{ID: raft.ServerID(r.cfg.ID), Address: r.cfg.Transport.LocalAddr()}
	err := r.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{self}}).Error()
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap replica %s: %w", r.cfg.ID, r.explain(err))
	}
	return nil
}

// Close stops the replica and waits until it has: no write, read or watcher is left. The stores stay open,
// they are the caller's; a transport that can be closed is closed. What was committed but not yet applied
// is applied after the next Open.
func (r *Replica) Close() error {
	r.stop(ErrStopped)
	r.running.Wait()
	err := r.shutdown().Error()
	_ = r.disk.settle() // an error is no news
	r.mu.Lock()         // waits for readers
	defer r.mu.Unlock()
	r.frozen.closeAll()
	r.watches.close()
	if err != nil {
		return fmt.Errorf("close replica %s: %w", r.cfg.ID, err)
	}
	return nil
}

// takeLead is what a new leader does first.
func (r *Replica) takeLead() {
	ctx, cancel := context.WithTimeout(context.Background(), doLimit)
	defer cancel()
	if err := r.lead(ctx); err != nil && r.hasStopped() == nil {
		r.log.Info("leading, but not yet sure of what was committed before", "why", err)
	}
}

// stop ends everything that waits; raft itself is shut down by attend, or by Close.
func (r *Replica) stop(cause error) {
	r.stopOnce.Do(func() {
		r.cause = cause
		close(r.stopped)
	})
}

// fail stops this replica for good. It may be called on any of raft's goroutines.
func (r *Replica) fail(err error) {
	r.fatalOnce.Do(func() {
		err = fmt.Errorf("replica %s: %w", r.cfg.ID, err)
		r.stop(fmt.Errorf("%w: %w", ErrStopped, err))
		r.cfg.Fatal(err)
	})
}

// hasStopped returns why the replica has stopped, nil while it has not.
func (r *Replica) hasStopped() error {
	select {
	case <-r.stopped:
		return r.cause
	default:
		return nil
	}
}

// explain puts raft's own words for a replica that has stopped into ours.
func (r *Replica) explain(err error) error {
	if errors.Is(err, raft.ErrRaftShutdown) {
		return ErrStopped
	}
	return err
}

// attend follows leadership and keeps watch over the disk. It never calls raft, which waits for it.
func (r *Replica) attend(notify <-chan bool) {
	tick := time.NewTicker(watchdogEvery)
	defer tick.Stop()
	for {
		select {
		case leads := <-notify:
			if !leads {
				r.proposer.forget() // before those who wait are told to try again
			}
			r.pulse.turn()
			if leads {
				r.running.Go(r.takeLead)
			}
		case <-tick.C:
			r.pace()
			if took := r.disk.writing(); took > slowWriteAfter {
				r.fail(fmt.Errorf("the log has not been written for %v: the disk hangs or is overloaded;"+
					" look at it, then start again", took.Round(time.Second)))
			}
		case <-r.stopped:
			r.shutdown() // only says so; Close waits for it
			return
		}
	}
}
