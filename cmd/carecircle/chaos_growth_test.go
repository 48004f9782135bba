package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// growth is what the replicas hold of memory and disk, over time.
type growth struct {
	samples []sample
}

type sample struct {
	memory, disk [chaosReplicas]float64 // megabytes; no memory: it was not running
	position     uint64
}

// sample looks at all replicas.
func (g *growth) sample(c *chaosCircle, position uint64) error {
	s := sample{position: position}
	for i, r := range c.replicas {
		var err error
		if s.disk[i], err = takenBy(r.dir); err != nil {
			return err
		}
		if p := r.alive(); p != nil {
			kb, err := kilobytes(p.cmd.Process.Pid, "VmRSS:")
			if err != nil {
				return err
			}
			s.memory[i] = kb / 1024
		}
	}
	g.samples = append(g.samples, s)
	return nil
}

// takenBy adds up what a directory's files take of the disk, in megabytes. Files may go meanwhile.
func takenBy(dir string) (float64, error) {
	var blocks int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		blocks += info.Sys().(*syscall.Stat_t).Blocks
		return nil
	})
	return float64(blocks) * 512 / (1 << 20), err
}

// third returns the samples of the first (0), the middle (1) or the last (2) third.
func (g *growth) third(n int) []sample {
	return g.samples[len(g.samples)*n/3 : len(g.samples)*(n+1)/3]
}

// median of what the samples have of one replica.
func median(of []sample, pick func(sample) float64) float64 {
	var all []float64
	for _, s := range of {
		if v := pick(s); v > 0 {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Bounds on what may grow from the middle third of a run to the last. The journal keeps every command for
// ever, and the state what came of it; raft's own log and the snapshots go round.
const (
	memoryGrowth = 1.3     // times
	memoryExtra  = 30      // megabytes
	diskACommand = 8 << 10 // bytes, in all that is kept of one
)

// bounded says which replica grew more than it may.
func (g *growth) bounded() (report string, err error) {
	middle, last := g.third(1), g.third(2)
	done := median(last, func(s sample) float64 { return float64(s.position) }) -
		median(middle, func(s sample) float64 { return float64(s.position) })
	for i := range chaosReplicas {
		memory := func(s sample) float64 { return s.memory[i] }
		disk := func(s sample) float64 { return s.disk[i] }
		m0, m1 := median(middle, memory), median(last, memory)
		d0, d1 := median(middle, disk), median(last, disk)
		each := (d1 - d0) * (1 << 20) / max(done, 1)
		report += fmt.Sprintf("replica %d: memory %.0f then %.0f MB, disk %.0f then %.0f MB,"+
			" %.0f bytes a command\n", i+1, m0, m1, d0, d1, each)
		if m1 > m0*memoryGrowth+memoryExtra || each > diskACommand {
			err = errors.New("a replica grows without bound")
		}
	}
	return report, err
}

// leaderless returns how long after a kill the first command was answered that was sent after it.
func (h *history) leaderless(k kill) (time.Duration, bool) {
	first := time.Duration(-1)
	for _, d := range h.deeds {
		if d.answered && !d.reads() && d.tried > k.at && (first < 0 || d.back < first) {
			first = d.back
		}
	}
	return first - k.at, first >= 0
}
