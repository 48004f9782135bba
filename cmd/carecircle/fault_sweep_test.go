package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// swept are the calls by which a node has things on disk. It is killed at the n-th of a thread's.
var swept = []string{
	"fsync", "fdatasync", "msync", "rename,renameat,renameat2", "ftruncate", "fallocate", "unlink,unlinkat",
	"pwrite64",
}

// synced are those that may fail.
var synced = []string{"fsync", "fdatasync", "msync"}

// sweepTo bounds how far a sweep goes; it ends before where the call comes less often.
const sweepTo = 400

// stages are the two lives of a node in which a fault may come: the one that makes everything, and the next.
const stages = 2

// moments are how many things a node does in one of its stages.
const moments = 21

// life is what a node does in one of its stages. The fault may come from the start on, or from a moment on;
// life ends early where the node does.
func (e *earnings) life(t *testing.T, f *faulty, fault string, from int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLong)
	defer cancel()
	if from == 0 {
		f.start(t, fault)
	} else {
		f.start(t, "")
	}
	if !f.comesUp(t) {
		return
	}
	for moment := 1; moment <= moments; moment++ {
		if moment == from {
			f.attach(t, fault)
		}
		var err error
		if moment%6 == 0 { // two snapshots are kept: the third removes one
			err = f.snapshot(ctx)
		} else {
			err = e.earn(ctx, f, 1)
		}
		if err != nil {
			f.ends(t)
			return
		}
	}
	f.stop(t)
}

// ends waits for a node that has failed to answer: it must be on its way out.
func (f *faulty) ends(t *testing.T) {
	t.Helper()
	select {
	case <-f.node.ended:
	case <-time.After(15 * time.Second):
		t.Errorf("it failed to answer, and lives on:\n%s", f.node.said.String())
		f.end()
	}
}

// strike gives a new circle a life in which a fault comes at stage, from a moment on, and checks what is left
// of it. It returns false where the fault did not come.
func strike(t *testing.T, fault string, stage, from int, check func(f *faulty)) bool {
	t.Helper()
	f := newFaulty(t, filepath.Join(t.TempDir(), "hb"))
	var e earnings
	for before := range stage {
		e.life(t, f, "", 0)
		if code := f.node.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("life %d without a fault: exit code %d\n%s", before, code, f.node.said.String())
		}
	}
	e.life(t, f, fault, from)
	hit := f.wasHit(t)
	if hit {
		check(f)
	}
	f.end()
	f.start(t, "")
	f.node.waitReady(t)
	e.check(t, f)
	f.checkLog(t)
	f.end()
	if t.Failed() {
		t.Fatalf("after %s at stage %d from moment %d on", fault, stage, from)
	}
	return hit
}

// sweep strikes at every n, from the first on, in both stages. In the short form it draws a few of them.
func sweep(t *testing.T, calls, then string, check func(f *faulty)) {
	t.Helper()
	which := rand.IntN(stages)
	for stage := range stages {
		if !*soak && stage != which {
			continue
		}
		if !*soak {
			n, from := 1+rand.IntN(3), rand.IntN(2)*rand.IntN(moments)
			hit := strike(t, fmt.Sprintf(then, calls, n), stage, from, check)
			t.Logf("%s %d in stage %d from moment %d on: %t", calls, n, stage, from, hit)
			continue
		}
		n, hits := 1, 0
		for missed := 0; n < sweepTo && missed < 3; n++ {
			missed++
			if strike(t, fmt.Sprintf(then, calls, n), stage, 0, check) {
				missed, hits = 0, hits+1
			}
		}
		for from := range moments {
			if strike(t, fmt.Sprintf(then, calls, 1), stage, from+1, check) {
				hits++
			}
		}
		t.Logf("%s: came %d times in stage %d, at up to the call %d of a thread", calls, hits, stage, n-4)
	}
}

// TestKillSweepSoak kills a lone node at the n-th call of each kind. It always opens again, with everything
// it has acknowledged.
func TestKillSweepSoak(t *testing.T) {
	for _, calls := range swept {
		t.Run(calls, func(t *testing.T) { sweep(t, calls, killAt, func(*faulty) {}) })
	}
}

// TestSyncFailsSoak has the disk fail from the n-th sync on. The node ends and says why; nothing that it
// has acknowledged is lost.
func TestSyncFailsSoak(t *testing.T) {
	for _, calls := range synced {
		t.Run(calls, func(t *testing.T) {
			sweep(t, calls, "%s:error=EIO:when=%d+", func(f *faulty) {
				f.ends(t)
				f.checkSaid(t, exitStopped)
			})
		})
	}
}

// TestKillSweepOfThreeSoak kills one of three replicas in the same way: the other two go on, and it comes
// back with all that they have.
func TestKillSweepOfThreeSoak(t *testing.T) {
	if !*soak {
		all, e := threeFaulty(t), earnings{}
		for _, i := range rand.Perm(len(swept))[:4] {
			n, from := 1+rand.IntN(2), rand.IntN(2)*(1+rand.IntN(roundsOfThree))
			hit := strikeOneOf(t, all, &e, n%3, fmt.Sprintf(killAt, swept[i], n), from)
			t.Logf("%s %d from round %d on: %t", swept[i], n, from, hit)
		}
		return
	}
	for _, call := range swept {
		t.Run(call, func(t *testing.T) {
			all, e, n, hits := threeFaulty(t), earnings{}, 1, 0
			for missed := 0; n < sweepTo && missed < 3; n++ {
				missed++
				if strikeOneOf(t, all, &e, n%3, fmt.Sprintf(killAt, call, n), 0) {
					missed, hits = 0, hits+1
				}
			}
			for from := range roundsOfThree {
				for victim := range all {
					if strikeOneOf(t, all, &e, victim, fmt.Sprintf(killAt, call, 1), from+1) {
						hits++
					}
				}
			}
			t.Logf("%s: killed %d times, at up to the call %d of a thread", call, hits, n-4)
		})
	}
}

// killAt is the fault that kills at the n-th of some calls.
const killAt = "%s:signal=SIGKILL:when=%d"

// roundsOfThree are what three replicas do while one is struck: requests, and a snapshot at the victim.
const roundsOfThree = 4

// strikeOneOf has a fault come to one of the replicas, from its start or from a round on, while another takes
// requests.
func strikeOneOf(t *testing.T, all []*faulty, e *earnings, victim int, fault string, from int) bool {
	t.Helper()
	f, other := all[victim], all[(victim+1)%len(all)]
	f.end()
	if from == 0 {
		f.start(t, fault)
	} else {
		f.start(t, "")
	}
	up := f.comesUp(t)
	ctx, cancel := context.WithTimeout(t.Context(), waitLong)
	defer cancel()
	for round := 1; round <= roundsOfThree; round++ {
		if up && round == from {
			f.attach(t, fault)
		}
		if err := e.earn(ctx, other, 2); err != nil {
			if e.person == "" {
				t.Fatal(err)
			}
			last := e.all[len(e.all)-1]
			waitUntil(t, "the other replicas answer", func() (bool, error) {
				_, err := e.again(ctx, other, last)
				return err == nil, err
			})
		}
		if up {
			up = f.snapshot(ctx) == nil
		}
	}
	hit := f.wasHit(t)
	f.end()
	f.start(t, "")
	f.node.waitReady(t)
	e.check(t, f)
	checkEqual(t, all)
	if t.Failed() {
		t.Fatalf("after %s at %s", fault, f.id)
	}
	return hit
}
