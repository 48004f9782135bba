package node

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/backup"
)

// Status is how the node does, as carecircle status and /api/v1/status show it. Whoever asks learns nothing
// about people.
type Status struct {
	Circle   string        `json:"circle"`
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Ready    bool          `json:"ready"`
	Checks   []Check       `json:"checks"`
	Replica  ReplicaStatus `json:"replica"`
	Replicas []Standing    `json:"replicas"` // all of the circle's, a moment ago; none: it has one
	Links    []Link        `json:"links"`
	// Backup is about this machine's own backups and drills; absent where its config asks for none.
	Backup      *backup.Status `json:"backup,omitempty"`
	KeysSealed  bool           `json:"keysSealed"`      // under a master key or a passphrase
	Scrub       *Scrub         `json:"scrub,omitempty"` // the newest
	UpSeconds   int64          `json:"upSeconds"`
	ReadyMillis int64          `json:"readyMillis"` // from start to ready
	MemoryBytes int64          `json:"memoryBytes"` // resident
	DiskFree    uint64         `json:"diskFreeBytes"`
	DiskSize    uint64         `json:"diskSizeBytes"`
	DiskMargin  uint64         `json:"diskMarginBytes"`  // with less free than this nothing is written
	DiskBallast uint64         `json:"diskBallastBytes"` // what carecircle space release frees
	DiskLow     bool           `json:"diskLow"`          // nothing is written
}

// ReplicaStatus is where this replica stands. Indices are those of the log.
type ReplicaStatus struct {
	ID            string `json:"id"`
	State         string `json:"state"`            // Leader, Follower, Candidate or Shutdown
	Leader        string `json:"leader,omitempty"` // id of the replica that leads; empty: none is known
	Term          uint64 `json:"term"`
	Commit        uint64 `json:"commit"`
	Applied       uint64 `json:"applied"`
	LagEntries    uint64 `json:"lagEntries"`  // committed and not applied yet
	Position      uint64 `json:"position"`    // commands in the journal
	Rules         uint32 `json:"rules"`       // the rules version in force
	NewestRules   uint32 `json:"newestRules"` // the newest one that this program knows
	SnapshotIndex uint64 `json:"snapshotIndex"`
	SnapshotAt    int64  `json:"snapshotAt,omitempty"` // Unix milliseconds; 0: there is none
	Stopped       string `json:"stopped,omitempty"`    // why it has stopped
}

// Status returns how the node does.
func (n *Node) Status() Status {
	s := n.replica.Status()
	disk := n.diskSample()
	out := Status{
		Circle: string(n.Keys.CircleID()), Name: n.Config.Name, Version: n.options.Version,
		Checks: n.checks(s), Links: n.Links(), UpSeconds: int64(time.Since(n.started).Seconds()),
		ReadyMillis: n.readyAfter().Milliseconds(), MemoryBytes: residentBytes(),
		DiskFree: disk.Free, DiskSize: disk.Size, DiskMargin: disk.Margin, DiskBallast: disk.Ballast,
		DiskLow: disk.Low, Scrub: n.scrubs.newest(), Backup: n.BackupStatus(),
		Replica: ReplicaStatus{
			ID: s.ID, State: s.State, Leader: s.Leader, Term: s.Term, Commit: s.Commit, Applied: s.Applied,
			LagEntries: s.Commit - min(s.Applied, s.Commit), Position: s.Position,
			SnapshotIndex: s.SnapshotIndex, Rules: s.Rules, NewestRules: machine.NewestRules,
		},
		KeysSealed: n.files.Sealed(),
		Replicas:   append([]Standing{}, n.heardOf()...),
	}
	if !s.SnapshotAt.IsZero() {
		out.Replica.SnapshotAt = s.SnapshotAt.UnixMilli()
	}
	if s.Err != nil {
		out.Replica.Stopped = s.Err.Error()
	}
	out.Ready = notReady(out.Checks) == nil
	return out
}

// residentBytes returns the memory this process holds; 0 where nobody can tell.
func residentBytes() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
