package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

const (
	benchEntries = 100_000
	benchPeople  = 200
	benchAtOnce  = 256
	idleFor      = 10 * time.Second
)

// BenchmarkRestart measures the program over a book of 100,000 entries: from its start to the line that says
// where it is, and its memory after it has idled.
func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir() + "/n"
	base := initNode(b, dir, "Bench")
	program := b.TempDir() + "/carecircle"
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("build the program: %v\n%s", err, out)
	}
	began := time.Now()
	fill(b, dir)
	b.Logf("%d entries made in %v", benchEntries, time.Since(began).Round(time.Second))
	b.ResetTimer()
	var ready, memory, own float64
	for b.Loop() {
		p, err := spawn(program, dir)
		if err != nil {
			b.Fatal(err)
		}
		p.waitReady(b)
		ready += float64(p.readyAfter.Microseconds()) / 1000
		pause(b.Context(), idleFor)
		res, err := http.Get(base + "/healthz")
		if err != nil || res.StatusCode != http.StatusOK {
			b.Fatal(err, res)
		}
		res.Body.Close() //nolint:errcheck // one word
		all, err := kilobytes(p.cmd.Process.Pid, "VmRSS:")
		anon, err2 := kilobytes(p.cmd.Process.Pid, "RssAnon:")
		if err := errors.Join(err, err2); err != nil {
			b.Fatal(err)
		}
		memory += all / 1000
		own += anon / 1000
		p.stop(b)
	}
	b.ReportMetric(ready/float64(b.N), "ready-ms")
	b.ReportMetric(memory/float64(b.N), "rss-MB")
	b.ReportMetric(own/float64(b.N), "anon-MB") // of that, what is not a file's pages
	b.ReportMetric(0, "ns/op")
}

// fill has a node in this process earn and pass on coins until its book has so many entries.
func fill(b *testing.B, dir string) {
	b.Helper()
	n, err := node.Open(b.Context(), dir, node.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	do := func(actor, kind string, body any) (any, error) {
		id, err := api.NewID()
		if err != nil {
			return nil, err
		}
		c, err := machine.NewCommand(id, machine.Caller{Actor: actor}, 0, kind, body)
		if err != nil {
			return nil, err
		}
		out, err := n.Do(b.Context(), c)
		if err == nil && out.Refusal != nil {
			err = out.Refusal
		}
		return out.Result, err
	}
	var people []string
	for i := range benchPeople {
		link := machine.Hash{1, byte(i)}
		until := time.Now().Add(time.Hour).UnixMilli()
		made, err := do(machine.ActorOperator, "member.invite", member.Invite{
			Name: machine.Text("", fmt.Sprint("Person ", i)), Link: link, Until: until,
		})
		if err == nil {
			_, err = do(machine.ActorNode, "member.enter", member.Enter{
				Link: link, Session: machine.Hash{2, byte(i)}, Until: until,
			})
		}
		if err != nil {
			b.Fatal(err)
		}
		people = append(people, made.(member.Made).Person)
	}
	move := func(i int) error {
		who := people[i%benchPeople]
		if i < benchPeople {
			_, err := do(machine.ActorOperator, "coin.earn", coin.Earn{
				Person: who, Minutes: 600,
				Activity: "garden",
			})
			return err
		}
		_, err := do(who, "coin.give", coin.Give{To: people[(i+1)%benchPeople], Minutes: 1})
		return err
	}
	if err := atOnce(b.Context(), move); err != nil {
		b.Fatal(err)
	}
	got, err := n.View(b.Context(), machine.Caller{Actor: machine.ActorOperator}, "coin.overview", nil)
	if err != nil {
		b.Fatal(err)
	}
	if book := got.(coin.Overview); book.Entries < benchEntries {
		b.Fatalf("the book has %d entries", book.Entries)
	}
}

// atOnce does the moves, many at a time; the first ones one after the other.
func atOnce(ctx context.Context, move func(i int) error) error {
	for i := range benchPeople {
		if err := move(i); err != nil {
			return err
		}
	}
	var workers sync.WaitGroup
	failed := make(chan error, benchAtOnce)
	for w := range benchAtOnce {
		workers.Go(func() {
			for i := benchPeople + w; i < benchEntries && ctx.Err() == nil; i += benchAtOnce {
				if err := move(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// kilobytes reads one line on a process's memory.
func kilobytes(pid int, what string) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), what); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, errors.New("the system does not say how much memory the process holds")
}
