package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

const (
	benchStopWait = 30 * time.Second
	benchJoinWait = time.Minute
	clockTick     = 10 * time.Millisecond // of /proc/PID/stat, on every Linux there is
)

// benchCircle is a circle of real nodes, each a process of this very program.
type benchCircle struct {
	variant string // a baseline; empty: as it is
	nodes   []*benchNode
}

// benchNode is one of them.
type benchNode struct {
	cmd   *exec.Cmd
	stdin io.Closer // held open while the node is to run
	id    string    // among the replicas; empty where it is the only one
	addr  string
	token string       // its operator's
	said  bytes.Buffer // what it complained of
	ended chan struct{}
}

// benchUsage is what the nodes have used since they began.
type benchUsage struct {
	written int64
	cpu     time.Duration
	memory  string // megabytes of each
}

// startBenchCircle founds a circle in dir and serves it from so many replicas, on loopback.
func startBenchCircle(ctx context.Context, dir string, size int, variant string,
) (_ *benchCircle, err error) {
	c := &benchCircle{variant: variant}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for i := range size {
		if err := c.add(ctx, filepath.Join(dir, strconv.Itoa(i+1)), size > 1); err != nil {
			return nil, fmt.Errorf("replica %d: %w", i+1, err)
		}
		if size > 1 {
			if err := c.await(ctx, i+1); err != nil {
				return nil, fmt.Errorf("replica %d: %w", i+1, err)
			}
		}
	}
	return c, nil
}

// add makes one more node as init or join would, and serves it.
func (c *benchCircle) add(ctx context.Context, home string, several bool) error {
	cfg := node.Config{Letters: []string{"/ip4/127.0.0.1/tcp/0"}}
	addrs, err := freeAddrs(3)
	if err != nil {
		return err
	}
	cfg.HTTP = addrs[0]
	if several {
		cfg.Replica = &node.ReplicaConfig{ID: replicas.First, Listen: addrs[1], Gossip: addrs[2]}
	}
	if len(c.nodes) == 0 {
		cfg.Name, cfg.Place, cfg.Aim, cfg.Founder = "Bench", "Bench", "To be measured", "Farida"
		err = node.Init(home, cfg)
	} else {
		var answer struct {
			Invitation string `json:"invitation"`
		}
		operator, path := c.nodes[0].operator(), "/api/v1/replicas/invite"
		err = operator.Call(ctx, http.MethodPost, path, []byte("{}"), &answer)
		if err == nil {
			cfg, err = node.Join(ctx, home, answer.Invitation, cfg)
		}
	}
	if err != nil {
		return err
	}
	n, err := startBenchNode(ctx, home, addrs[0], c.variant)
	if err != nil {
		return err
	}
	if cfg.Replica != nil {
		n.id = cfg.Replica.ID
	}
	c.nodes = append(c.nodes, n)
	return nil
}

// await waits until so many replicas vote.
func (c *benchCircle) await(ctx context.Context, voting int) error {
	ctx, cancel := context.WithTimeout(ctx, benchJoinWait)
	defer cancel()
	tick := time.NewTicker(benchRetryWait)
	defer tick.Stop()
	for {
		all, err := c.standings(ctx)
		n := 0
		for _, s := range all {
			if s.Alive && s.Status == "voting" {
				n++
			}
		}
		if err == nil && n == voting {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d of %d replicas vote within %v", n, voting, benchJoinWait), err)
		}
	}
}

func (c *benchCircle) standings(ctx context.Context) ([]node.Standing, error) {
	var all []node.Standing
	return all, c.nodes[0].operator().Call(ctx, http.MethodGet, "/api/v1/replicas", nil, &all)
}

// leading returns the node that leads, the only one of a circle that has one.
func (c *benchCircle) leading(ctx context.Context) ([]*benchNode, error) {
	if len(c.nodes) == 1 {
		return c.nodes, nil
	}
	all, err := c.standings(ctx)
	for _, s := range all {
		if s.State != "Leader" {
			continue
		}
		for _, n := range c.nodes {
			if n.id == s.ID {
				return []*benchNode{n}, nil
			}
		}
	}
	return nil, errors.Join(errors.New("no replica leads"), err)
}

// freeAddrs returns loopback addresses with ports that are free now.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer closeQuietly(l) // only now, so that no two are the same
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func (n *benchNode) operator() *api.Client { return api.NewClient("http://"+n.addr, n.token) }

// startBenchNode serves a directory and returns once the node is ready.
func startBenchNode(ctx context.Context, dir, addr, variant string) (*benchNode, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	n := &benchNode{addr: addr, ended: make(chan struct{})}
	if n.token, err = node.OperatorToken(dir); err != nil {
		return nil, err
	}
	n.cmd = exec.Command(self, "serve", "--data", dir, "--log-level", "error", "--baseline", variant)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us: we stop it in order
	n.cmd.Stderr = &n.said
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(n.ended)
		lines := bufio.NewScanner(out)
		if lines.Scan() {
			close(ready)
		}
		for lines.Scan() { // it must not wait for us to read
		}
		_ = n.cmd.Wait() // stop tells by ended, and reads what it said
	}()
	select {
	case <-ready:
		return n, nil
	case <-n.ended:
		return nil, fmt.Errorf("the node in %s did not start: %s", dir, strings.TrimSpace(n.said.String()))
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), n.stop())
	}
}

// stop ends the node as an operator would, and in the end without asking.
func (n *benchNode) stop() error {
	closeQuietly(n.stdin)
	_ = n.cmd.Process.Signal(os.Interrupt) // it may be gone already
	late := time.NewTimer(benchStopWait)
	defer late.Stop()
	select {
	case <-n.ended:
	case <-late.C:
		_ = n.cmd.Process.Kill()
		<-n.ended
		return fmt.Errorf("a node did not stop within %v and was killed", benchStopWait)
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a node ended with code %d: %s", code, strings.TrimSpace(n.said.String()))
	}
	return nil
}

func (c *benchCircle) stop() error {
	var errs []error
	for _, n := range c.nodes {
		closeQuietly(n.stdin)
		_ = n.cmd.Process.Signal(os.Interrupt) // all together: who stops last has nobody to hand over to
	}
	for _, n := range c.nodes {
		errs = append(errs, n.stop())
	}
	return errors.Join(errs...)
}

// usage adds up what the nodes used, as the kernel counts it.
func (c *benchCircle) usage() (u benchUsage, err error) {
	var memory []string
	for _, n := range c.nodes {
		proc := filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid))
		written, err := procNumber(filepath.Join(proc, "io"), "write_bytes:")
		if err != nil {
			return u, err
		}
		resident, err := procNumber(filepath.Join(proc, "status"), "VmRSS:")
		if err != nil {
			return u, err
		}
		stat, err := os.ReadFile(filepath.Join(proc, "stat"))
		if err != nil {
			return u, fmt.Errorf("bench: %w", err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			return u, fmt.Errorf("bench: %s/stat is not of the form known", proc)
		}
		for _, field := range fields[11:13] { // user and system time
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return u, fmt.Errorf("bench: %s/stat: %w", proc, err)
			}
			u.cpu += time.Duration(ticks) * clockTick
		}
		u.written += written
		memory = append(memory, strconv.FormatInt(resident>>10, 10))
	}
	u.memory = strings.Join(memory, " ")
	return u, nil
}

// procNumber reads the number behind a name in one of the kernel's files.
func procNumber(file, name string) (int64, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("bench: %s has no %s", file, name)
}
