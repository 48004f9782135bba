package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/federation/charter"
)

// homeAddr is what every home router gives the one machine behind it.
const homeAddr = "192.168.7.2"

// home puts a machine behind the router that node i of the network is from now on: it reaches everyone, its
// address is the router's, and nobody reaches it but for its pages' port, which is for this test.
func (n *network) home(i int) (front []string) {
	n.t.Helper()
	router, space := n.space(i), n.space(i)+"h"
	n.must("", "ip", "netns", "add", space)
	n.t.Cleanup(func() { n.must("", "ip", "netns", "del", space) })
	n.must("", "ip", "-n", router, "link", "add", "home0", "type", "veth", "peer", "name", "eth0", "netns",
		space)
	n.must("", "ip", "-n", router, "addr", "add", "192.168.7.1/24", "dev", "home0")
	n.must("", "ip", "-n", router, "link", "set", "home0", "up")
	n.must("", "ip", "-n", space, "addr", "add", homeAddr+"/24", "dev", "eth0")
	n.must("", "ip", "-n", space, "link", "set", "eth0", "up")
	n.must("", "ip", "-n", space, "link", "set", "lo", "up")
	n.must("", "ip", "-n", space, "route", "add", "default", "via", "192.168.7.1")
	n.must("", "ip", "netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	n.must(fmt.Sprintf(`flush ruleset
table ip router {
	chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
	chain in { type nat hook prerouting priority dstnat; iifname "eth0" tcp dport 7001 dnat to %s:7001; }
	chain through {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "home0" accept
		ct status dnat accept
	}
}
`, homeAddr), "ip", "netns", "exec", router, "nft", "-f", "-")
	return []string{"ip", "netns", "exec", space}
}

// newKillableAtHome makes a circle whose node is behind the router that node i of the network is.
func newKillableAtHome(t *testing.T, n *network, i int, name string) *killable {
	t.Helper()
	front := n.home(i)
	dir := filepath.Join(t.TempDir(), "node")
	initNodeAt(t, dir, name, homeAddr, "7001", "7101")
	c := &killable{dir: dir, name: name, base: "http://" + n.addr(i) + ":7001", front: front}
	c.begin(t)
	return c
}

// invites has a hub's operator invite a circle, and the circle join.
func (c *killable) invites(t *testing.T, other *killable) {
	t.Helper()
	body, err := c.operator.Send(t.Context(), http.MethodGet, "/api/v1/card", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	closeQuietly(body)
	if err != nil {
		t.Fatal(err)
	}
	card, err := charter.ParseText(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, charter.SecretBytes)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	c.do(t, c.operator, "joining.invite", joining.Invite{
		Secret: sha256.Sum256(secret), For: other.name, Days: 1,
	}, nil)
	other.do(t, other.operator, "joining.join", joining.Join{Card: card, Secret: secret}, nil)
}

func (c *killable) federation(t *testing.T) joining.Federation {
	t.Helper()
	var f joining.Federation
	c.view(t, c.operator, "joining.federation", &f)
	return f
}

// allyAll has two circles that are to hear of each other from their hub make an alliance.
func allyAll(t *testing.T, circles [2]*killable) {
	t.Helper()
	alliances := func(c *killable) []exchange.Alliance {
		var all exchange.Alliances
		c.view(t, c.operator, "exchange.alliances", &all)
		return all.Alliances
	}
	for i, c := range circles {
		waitUntil(t, c.name+" has met the other", func() (bool, error) { return len(alliances(c)) == 2, nil })
		c.ally(t, circles[1-i])
	}
	for _, c := range circles {
		waitUntil(t, "the alliance is in force at "+c.name, func() (bool, error) {
			return slices.ContainsFunc(alliances(c), func(a exchange.Alliance) bool {
				return a.State == "in-force"
			}), nil
		})
	}
}

// TestBehindHomeRouters: two circles whose nodes are behind home routers, with the very same private address,
// join a federation and pay each other through the hub, also after the hub was killed.
func TestBehindHomeRouters(t *testing.T) {
	if testing.Short() {
		t.Skip("makes network namespaces")
	}
	n := newNetwork(t, 3)
	office := newKillableIn(t, n, 0, "Office")
	office.do(t, office.operator, "hub.open", hub.Open{}, nil)
	homes := [2]*killable{newKillableAtHome(t, n, 1, "Heptonstall"), newKillableAtHome(t, n, 2, "Mytholm")}
	for i, c := range homes {
		c.addPerson(t, fmt.Sprintf("%cPERSON2", 'A'+i))
		office.invites(t, c)
	}
	for i, c := range homes {
		waitUntil(t, c.name+" knows the other", func() (bool, error) {
			f := c.federation(t)
			for _, x := range f.Circles {
				if !x.Us && !x.Hub {
					homes[1-i].id = x.Circle
				}
			}
			return f.State == "in" && len(f.Circles) == 3, nil
		})
	}
	allyAll(t, homes)
	paid := int64(0)
	pay := func(what string) {
		t.Helper()
		for i, c := range homes {
			c.do(t, c.people[0].client, "exchange.pay", exchange.Pay{
				Circle: homes[1-i].id, Code: homes[1-i].people[0].code, Minutes: int64(7 - 4*i),
			}, nil)
		}
		paid += 4
		waitUntil(t, what, func() (bool, error) {
			for i, c := range homes {
				var own coin.Mine
				if err := c.people[0].client.View(t.Context(), "coin.mine", nil, &own); err != nil {
					return false, err
				}
				if own.Balance != c.people[0].minutes-paid*int64(1-2*i) {
					return false, nil
				}
			}
			return true, nil
		})
	}
	pay("both have paid")
	office.kill()
	office.restart(t).waitReady(t)
	pay("both have paid after the hub was killed")
}
