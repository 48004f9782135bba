package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	chaosReplicas = 3
	lossPercent   = 20
)

// network is a bridge with a network namespace for each node, in which faults can be had. This process
// reaches all of them, whatever is cut between them.
type network struct {
	t      testing.TB
	tag    string
	prefix string   // of the addresses: 10.A.B.
	deaf   [][]bool // to, from
	lossy  bool
}

func newNetwork(t testing.TB, nodes int) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	n := &network{
		t: t, tag: fmt.Sprintf("cc%04x", rand.IntN(1<<16)),
		prefix: fmt.Sprintf("10.%d.%d.", 100+rand.IntN(100), rand.IntN(256)), deaf: make([][]bool, nodes),
	}
	n.must("", "ip", "link", "add", n.tag, "type", "bridge")
	t.Cleanup(func() { n.must("", "ip", "link", "del", n.tag) })
	n.must("", "ip", "addr", "add", n.prefix+"254/24", "dev", n.tag)
	n.must("", "ip", "link", "set", n.tag, "up")
	for i := range nodes {
		space, cable := n.space(i), fmt.Sprintf("%sv%d", n.tag, i)
		n.must("", "ip", "netns", "add", space)
		t.Cleanup(func() { n.must("", "ip", "netns", "del", space) })
		n.must("", "ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
		t.Cleanup(func() { n.must("", "ip", "link", "del", cable) })
		n.must("", "ip", "link", "set", cable, "master", n.tag, "up")
		n.must("", "ip", "-n", space, "addr", "add", n.addr(i)+"/24", "dev", "eth0")
		n.must("", "ip", "-n", space, "link", "set", "eth0", "up")
		n.must("", "ip", "-n", space, "link", "set", "lo", "up")
	}
	n.join()
	return n
}

func (n *network) space(i int) string   { return fmt.Sprintf("%s-%d", n.tag, i) }
func (n *network) addr(i int) string    { return fmt.Sprint(n.prefix, i+1) }
func (n *network) front(i int) []string { return []string{"ip", "netns", "exec", n.space(i)} }

func (n *network) must(input, program string, args ...string) {
	n.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v: %s; \"make deps\" installs what the tests need", program,
			strings.Join(args, " "), err, out)
	}
}

// apply makes the namespaces drop what is to be dropped, on its way in.
func (n *network) apply() {
	n.t.Helper()
	for to := range n.deaf {
		var rules strings.Builder
		rules.WriteString("flush ruleset\ntable inet chaos { chain in { type filter hook input priority 0;\n")
		for from := range n.deaf {
			if n.deaf[to][from] {
				fmt.Fprintf(&rules, "ip saddr %s drop\n", n.addr(from))
			} else if n.lossy && from != to {
				fmt.Fprintf(&rules, "ip saddr %s numgen random mod 100 < %d drop\n", n.addr(from),
					lossPercent)
			}
		}
		rules.WriteString("}\n}\n")
		n.must(rules.String(), "ip", "netns", "exec", n.space(to), "nft", "-f", "-")
	}
}

// mute has one node hear nothing from another.
func (n *network) mute(from, to int) {
	n.deaf[to][from] = true
	n.apply()
}

// isolate cuts a node off from the others, both ways.
func (n *network) isolate(i int) {
	n.hearsNobody(i)
	n.heardByNobody(i)
}

func (n *network) hearsNobody(i int) {
	for other := range n.deaf {
		n.deaf[i][other] = other != i
	}
	n.apply()
}

func (n *network) heardByNobody(i int) {
	for other := range n.deaf {
		n.deaf[other][i] = n.deaf[other][i] || other != i
	}
	n.apply()
}

// lose has a share of the packets between nodes lost.
func (n *network) lose(lossy bool) {
	n.lossy = lossy
	n.apply()
}

// join mends what was cut; packets may go on being lost.
func (n *network) join() {
	for i := range n.deaf {
		n.deaf[i] = make([]bool, len(n.deaf))
	}
	n.apply()
}
