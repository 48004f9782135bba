package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sample is how a node stands when Prometheus asks. A new metric of this kind is a field here and a row of
// the table that reads it.
type Sample struct {
	Ready   bool
	Start   time.Duration // from start to ready
	Replica Replica
	// Replicas are all of the circle's, this one among them.
	Replicas []Standing
	Links    []Link
	Disk     Disk
	// Snapshot is the newest one.
	Snapshot Snapshot
	Backup   *Backup // nil: the machine makes none
	// Scrub is the newest one.
	Scrub Scrub
}

// Scrub is a comparison of the circle's replicas and a check of their disks; no Result: there was none.
type Scrub struct {
	At     time.Time
	Result string // one of scrubResults
}

// scrubResults is the closed set of a scrub's results.
var scrubResults = []string{"whole", "incomplete", "damaged", "unsure"}

// Replica is where this replica stands in its log.
type Replica struct {
	ID              string
	State           string // one of replicaStates
	LeaderKnown     bool
	Term            uint64
	Commit, Applied uint64 // log indices
	Position        uint64 // commands in the journal
}

// Standing is where one of the circle's replicas stands, as this one knows.
type Standing struct {
	ID     string
	Alive  bool // it answers
	Voting bool // it counts when it is asked whether an entry is safe
	Heard  bool // it has answered since this one started: Lag is known
	Lag    uint64
}

// Link is how letters to another circle go.
type Link struct {
	Circle    string // its id
	Connected bool
	Waiting   uint64        // letters it does not hold yet
	Oldest    time.Duration // since the oldest of those was written
}

// Disk is the room where the node keeps its data, in bytes. Low says that nothing is written any more.
type Disk struct {
	Free, Size, Margin, Ballast uint64
	Low                         bool
}

// Snapshot is one on disk; no Index: there is none.
type Snapshot struct {
	Index uint64
	At    time.Time // zero: not known
	Bytes int64
}

// Backup is how a machine's backups do.
type Backup struct {
	Every  time.Duration // how often it is to make one; 0: when it is asked
	At     time.Time     // of the newest that can be restored; zero: there is none
	Drill  time.Time     // of the newest restore drill; zero: there was none
	Failed bool          // the newest attempt, or drill, did not go well
}

// replicaStates is the closed set of a replica's states.
var replicaStates = []string{"leader", "follower", "candidate", "shutdown"}

// circleChars is how much of a circle's id a label shows: enough to tell circles apart.
const circleChars = 12

// shortCircle is a circle's id as labels show it.
func shortCircle(id string) string { return id[:min(len(id), circleChars)] }

// sampler turns a sample into the table's gauges.
type sampler struct {
	rows               []sampledRow
	sample             func() Sample
	version, goVersion string
}

type sampledRow struct {
	metric metric
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s sampler) Describe(out chan<- *prometheus.Desc) {
	for _, row := range s.rows {
		out <- row.desc
	}
}

// Collect implements prometheus.Collector.
func (s sampler) Collect(out chan<- prometheus.Metric) {
	now := looked{Sample: s.sample(), version: s.version, goVersion: s.goVersion}
	for _, row := range s.rows {
		row.metric.read(&now, func(v float64, labels ...string) {
			kind := prometheus.GaugeValue
			if row.metric.kind == counter {
				kind = prometheus.CounterValue
			}
			out <- prometheus.MustNewConstMetric(row.desc, kind, v, labels...)
		})
	}
}

// looked is a sample and what never changes.
type looked struct {
	Sample
	version, goVersion string
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
