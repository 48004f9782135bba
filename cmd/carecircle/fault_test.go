package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

// faulty is a replica of a circle in a process of its own, in which things go wrong.
type faulty struct {
	dir, id  string
	operator *api.Client
	node     *process
	trace    string // what strace has seen that started the node; empty: none has
	later    string // what one has seen that came later
}

// newFaulty makes the directory of a circle's first node; more is added to the call of init.
func newFaulty(t *testing.T, dir string, more ...string) *faulty {
	t.Helper()
	args := []string{
		"init", "--data", dir, "--name", "Faulty", "--place", "Nowhere", "--aim", "To test", "--founder",
		"Farida", "--http", loopback(t), "--letters", letterAddr(t),
	}
	call(t, append(args, more...)...)
	return faultyIn(t, dir, "one")
}

// faultyIn is the replica in a directory.
func faultyIn(t *testing.T, dir, id string) *faulty {
	t.Helper()
	cfg, err := node.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := node.OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{dir: dir, id: id, operator: api.NewClient("http://"+cfg.HTTP, token)}
	t.Cleanup(f.end)
	return f
}

func loopback(t *testing.T) string {
	t.Helper()
	port, err := fixedPort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

func letterAddr(t *testing.T) string {
	t.Helper()
	return "/ip4/127.0.0.1/tcp/" + strings.TrimPrefix(loopback(t), "127.0.0.1:")
}

// start starts the node. With a fault, as in "fsync:signal=SIGKILL:when=3", strace brings that about.
func (f *faulty) start(t *testing.T, fault string) {
	t.Helper()
	var by []string
	f.trace, f.later = "", ""
	if fault != "" {
		calls, _, _ := strings.Cut(fault, ":")
		f.trace = filepath.Join(t.TempDir(), "trace")
		by = []string{
			// On one processor a thread makes more of the calls in a row: strace counts for each by itself.
			"strace", "-E", "GOMAXPROCS=1", "-f", "-qq", "--seccomp-bpf", "-o", f.trace,
			"-e", "trace=" + calls, "-e", "inject=" + fault, "--",
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if f.node, err = spawn(self, f.dir, by...); err != nil {
		t.Fatal(err)
	}
}

// attach has strace bring about a fault in the running node from now on.
func (f *faulty) attach(t *testing.T, fault string) {
	t.Helper()
	calls, _, _ := strings.Cut(fault, ":")
	f.later = filepath.Join(t.TempDir(), "trace")
	c := exec.Command("strace", "-f", "-o", f.later, "-e", "trace="+calls, "-e", "inject="+fault, "-p",
		strconv.Itoa(f.node.cmd.Process.Pid))
	says, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(says)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		t.Fatalf("strace says %q: %v", line, err)
	}
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, lines) //nolint:errcheck // until it ends
		c.Wait()                   //nolint:errcheck // it ends with the node
		close(gone)
	}()
	t.Cleanup(func() { <-gone })
}

// comesUp waits until the node is ready, or has ended.
func (f *faulty) comesUp(t *testing.T) bool {
	t.Helper()
	select {
	case <-f.node.ready:
		return true
	case <-f.node.ended:
		return false
	case <-time.After(waitLong):
		t.Fatalf("the node is neither ready nor gone:\n%s", f.node.said.String())
		return false
	}
}

// end ends the process hard, if it lives: a node whose standard input ends does not outlive that.
func (f *faulty) end() {
	if f.node == nil {
		return
	}
	if f.trace == "" {
		f.node.kill()
		return
	}
	f.node.stdin.Close() //nolint:errcheck // it is gone
	<-f.node.ended
}

// stop asks the process to stop, under strace too, and waits until it has ended.
func (f *faulty) stop(t *testing.T) {
	t.Helper()
	pid := f.node.cmd.Process.Pid
	if f.trace != "" {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil || len(raw) == 0 {
			<-f.node.ended // it is gone
			return
		}
		if pid, err = strconv.Atoi(strings.Fields(string(raw))[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	f.waitEnd(t)
}

func (f *faulty) waitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-f.node.ended:
	case <-time.After(waitLong):
		t.Fatalf("the node did not end:\n%s", f.node.said.String())
	}
}

// wasHit tells whether the fault came about.
func (f *faulty) wasHit(t *testing.T) bool {
	t.Helper()
	raw, err := os.ReadFile(cmp.Or(f.trace, f.later))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(raw), "(INJECTED)") || strings.Contains(string(raw), "killed by SIGKILL")
}

// checkSaid wants a node that has ended by itself to have said why, in words.
func (f *faulty) checkSaid(t *testing.T, codes ...int) {
	t.Helper()
	said, code := f.node.said.String(), f.node.cmd.ProcessState.ExitCode()
	known := false
	for _, c := range codes {
		known = known || c == code
	}
	if !known || len(said) == 0 || strings.Contains(said, "goroutine ") {
		t.Errorf("it ended with exit code %d (want one of %v) and said:\n%.3000s", code, codes, said)
	}
}

func (f *faulty) snapshot(ctx context.Context) error {
	var done struct{ Index uint64 }
	return f.operator.Call(ctx, http.MethodPost, "/api/v1/snapshot", []byte("{}"), &done)
}

// earnings are what one person earned: a minute each time, so the count is the balance.
type earnings struct {
	person string
	today  time.Time
	all    []*earned
}

type earned struct {
	id       string
	on       int64  // Unix milliseconds
	position uint64 // 0: not acknowledged
}

// earnedADay is below what a circle lets one person earn on a day, in minutes.
const earnedADay = 600

// founder returns the one person there is.
func (f *faulty) founder(ctx context.Context) (string, error) {
	var people member.People
	err := f.operator.View(ctx, "member.list", nil, &people)
	if err == nil && len(people.People) != 1 {
		err = fmt.Errorf("there are %d people", len(people.People))
	}
	if err != nil {
		return "", err
	}
	return people.People[0].Person, nil
}

// earn has the founder earn so many minutes, one at a time, until an error.
func (e *earnings) earn(ctx context.Context, at *faulty, times int) error {
	if e.person == "" {
		var err error
		if e.person, err = at.founder(ctx); err != nil {
			return err
		}
		e.today = time.Now()
	}
	for range times {
		id, err := api.NewID()
		if err != nil {
			return err
		}
		on := e.today.AddDate(0, 0, -len(e.all)/earnedADay)
		one := &earned{id: id.String(), on: on.UnixMilli()}
		e.all = append(e.all, one)
		if _, err := e.again(ctx, at, one); err != nil {
			return err
		}
	}
	return nil
}

func (e *earnings) again(ctx context.Context, at *faulty, one *earned) (api.Answer, error) {
	answer, err := at.operator.Do(ctx, one.id, "", "coin.earn",
		coin.Earn{Person: e.person, Minutes: 1, Activity: "garden", On: one.on}, nil)
	if err == nil && one.position == 0 {
		one.position = answer.Position
	}
	return answer, err
}

// check wants everything acknowledged to be there, once; what was not is done now.
func (e *earnings) check(t *testing.T, at *faulty) {
	t.Helper()
	for i, one := range e.all {
		was := one.position
		var answer api.Answer
		waitUntil(t, "a request is answered", func() (bool, error) {
			var err error
			answer, err = e.again(t.Context(), at, one)
			var refusal *machine.Error
			if errors.As(err, &refusal) && refusal.Code != "unavailable" && refusal.Code != "disk_low" {
				t.Fatalf("request %d is refused: %v", i, err)
			}
			return err == nil, err
		})
		if was != 0 && (!answer.Repeated || answer.Position != was) {
			t.Errorf("request %d was done at %d, and is now answered %+v", i, was, answer)
		}
	}
	e.checkBalance(t, at)
}

func (e *earnings) checkBalance(t *testing.T, at *faulty) {
	t.Helper()
	if e.person == "" {
		return
	}
	var sum, minutes int64
	for _, a := range at.overview(t).Accounts {
		sum += a.Minutes
		if a.Account == e.person {
			minutes = a.Minutes
		}
	}
	if sum != 0 || minutes != int64(len(e.all)) {
		t.Errorf("the founder has %d minutes, earned %d; the book sums to %d", minutes, len(e.all), sum)
	}
}

func (f *faulty) overview(t *testing.T) coin.Overview {
	t.Helper()
	var books coin.Overview
	waitUntil(t, "the books are shown", func() (bool, error) {
		err := f.operator.View(t.Context(), "coin.overview", nil, &books)
		return err == nil, err
	})
	return books
}

// checkLog exports the signed log and checks it by itself.
func (f *faulty) checkLog(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.log")
	if err := os.WriteFile(path, []byte(call(t, "export", "--data", f.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "verify", path)
}

// threeFaulty makes a circle with three replicas, all of them counted and running.
func threeFaulty(t *testing.T) []*faulty {
	t.Helper()
	return threeFaultyIn(t, func(string) string { return t.TempDir() })
}

func threeFaultyIn(t *testing.T, dirOf func(id string) string) []*faulty {
	t.Helper()
	all := []*faulty{newFaulty(t, filepath.Join(dirOf("one"), "one"), "--listen", loopback(t), "--gossip",
		loopback(t))}
	all[0].start(t, "")
	all[0].node.waitReady(t)
	for _, id := range []string{"r2", "r3"} {
		dir := filepath.Join(dirOf(id), id)
		call(t, "join", strings.TrimSpace(call(t, "replica", "invite", "--data", all[0].dir)), "--data", dir,
			"--listen", loopback(t), "--gossip", loopback(t), "--http", loopback(t), "--letters",
			letterAddr(t))
		f := faultyIn(t, dir, id)
		f.start(t, "")
		f.node.waitReady(t)
		waitUntil(t, "replica "+id+" counts", func() (bool, error) {
			var standing []node.Standing
			err := all[0].operator.Call(t.Context(), http.MethodGet, "/api/v1/replicas", nil, &standing)
			for _, s := range standing {
				if s.ID == id && s.Alive && s.Status == "voting" {
					return true, nil
				}
			}
			return false, err
		})
		all = append(all, f)
	}
	return all
}

// checkEqual waits until all replicas show the same books.
func checkEqual(t *testing.T, all []*faulty) {
	t.Helper()
	want := booksOf(t, all[0])
	for _, f := range all[1:] {
		waitUntil(t, f.id+" shows the same books as "+all[0].id, func() (bool, error) {
			want = booksOf(t, all[0])
			got := booksOf(t, f)
			if got != want {
				return false, fmt.Errorf("%s shows %s, %s %s", f.id, got, all[0].id, want)
			}
			return true, nil
		})
	}
}

func booksOf(t *testing.T, f *faulty) string {
	t.Helper()
	raw, err := json.Marshal(f.overview(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
