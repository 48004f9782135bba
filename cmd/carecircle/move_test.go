package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

// house is a circle of the demo as a process of its own.
type house struct {
	*tour
	dir      string
	operator *api.Client
	process  *process
}

func newHouse(b *tour, dir string) *house {
	b.Helper()
	cfg, err := node.ReadConfig(dir)
	if err != nil {
		b.Fatal(err)
	}
	token, err := node.OperatorToken(dir)
	if err != nil {
		b.Fatal(err)
	}
	h := &house{tour: b, dir: dir, operator: api.NewClient("http://"+cfg.HTTP, token)}
	h.process = startServe(b, dir)
	b.Cleanup(func() { h.process.kill() })
	h.process.waitReady(b)
	return h
}

// kill kills the node as a power cut would, and starts it again.
func (h *house) kill() {
	h.Helper()
	h.process.kill()
	h.process = startServe(h, h.dir)
	h.process.waitReady(h)
}

// person finds a member by name.
func (h *house) person(name string) string {
	h.Helper()
	var list member.People
	if err := h.operator.View(h.Context(), "member.list", nil, &list); err != nil {
		h.Fatal(err)
	}
	at := slices.IndexFunc(list.People, func(l member.Listed) bool { return l.Name == name })
	if at < 0 {
		h.Fatalf("%s is not there", name)
	}
	return list.People[at].Person
}

func (h *house) link(person string) string {
	h.Helper()
	return strings.TrimSpace(call(h, "link", person, "--data", h.dir))
}

// enter signs somebody in by a new link.
func (h *house) enter(person string) {
	h.Helper()
	h.open(h.link(person))
	h.press("#maincontent form button")
	h.expect("My coins")
}

func (h *house) balance(account string) int64 {
	h.Helper()
	var all coin.Overview
	if err := h.operator.View(h.Context(), "coin.overview", nil, &all); err != nil {
		h.Fatal(err)
	}
	if all.SumMinutes != 0 {
		h.Errorf("the books of %s do not add up: %d", h.dir, all.SumMinutes)
	}
	for _, a := range all.Accounts {
		if a.Account == account {
			return a.Minutes
		}
	}
	return 0
}

func (h *house) arrival() moving.Arrival {
	h.Helper()
	var all moving.Arrivals
	if err := h.operator.View(h.Context(), "moving.arrivals", nil, &all); err != nil {
		h.Fatal(err)
	}
	if len(all.Arrivals) == 0 {
		return moving.Arrival{}
	}
	return all.Arrivals[0]
}

// TestDevMoves has Dev of the demo move from Hebden Bridge to Blackshaw Head, in the browser, and kills a
// node at every step. His coin is there, and links of before lead to where he lives now.
func TestDevMoves(t *testing.T) {
	data := t.TempDir()
	playDemo(t, data)
	b := &tour{T: t, ctx: newBrowser(t)}
	b.do(chromedp.EmulateViewport(390, 844))
	hb := newHouse(b, filepath.Join(data, "hebden-bridge"))
	bh := newHouse(b, filepath.Join(data, "blackshaw-head"))
	dev := hb.person("Dev")
	had := hb.balance(dev)
	old := hb.link(dev)
	hb.enter(dev)
	b.open(hb.operator.Base() + "/me/move")
	b.do(chromedp.SendKeys(chromedp.CSS("#circle"), "Blackshaw Head"),
		chromedp.SetValue(chromedp.CSS("#words"), "I drive, and the hills call me."))
	b.press(`form[action="/me/move"] button`)
	b.expect("The other circle is asked")
	hb.kill()
	waitUntil(t, "he is asked for", func() (bool, error) { return bh.arrival().Stage == "waiting", nil })
	bh.kill()
	bh.enter(bh.person("Orla"))
	b.open(bh.operator.Base() + "/circle/arrivals")
	b.expect("Dev", "the hills call me")
	b.accessible("arrivals")
	b.press(`button[value="yes"]`)
	b.expect("Your answer is on its way")
	bh.kill()
	waitUntil(t, "he is accepted", func() (bool, error) {
		var mine struct{ Kept []struct{ What string } }
		err := hb.operator.View(t.Context(), "member.file", map[string][]string{
			"person": {dev}, "reason": {"to see whether he is accepted"},
		}, &mine)
		return slices.ContainsFunc(mine.Kept, func(k struct{ What string }) bool {
			return k.What == "a move to Blackshaw Head, accepted"
		}), err
	})
	hb.kill()
	hb.enter(dev)
	b.open(hb.operator.Base() + "/me/move")
	b.expect("you are welcome there")
	b.accessible("accepted")
	before := hb.copy()
	hb.enter(dev)
	b.open(hb.operator.Base() + "/me/move")
	b.press(`form[action="/me/move/go"] button`)
	b.expect("Goodbye", "Your link there")
	link, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector(".cc-card a").href`))
	if err != nil {
		t.Fatal(err)
	}
	hb.kill()
	waitUntil(t, "he may enter", func() (bool, error) { return bh.arrival().Stage == "here", nil })
	bh.kill()
	b.open(link)
	b.press("#maincontent form button")
	b.expect("Blackshaw Head", "Hello, Dev")
	hb.forwards(old)
	settled := func() {
		t.Helper()
		left, there := hb.balance(dev), bh.balance(bh.arrival().Person)
		if left != 0 || there != had || had == 0 {
			t.Errorf("%d minutes stayed, %d of %d came", left, there, had)
		}
	}
	settled()
	// Hebden Bridge is put back to before he left: he lives in Blackshaw Head all the same, with his coins.
	hb.putBack(before)
	waitUntil(t, "he has left once more", func() (bool, error) { return !hb.has("Dev"), nil })
	hb.forwards(old)
	settled()
}

// forwards follows an old link of somebody who moved.
func (h *house) forwards(link string) {
	h.Helper()
	h.open(link)
	h.press("#maincontent form button")
	h.expect("lives in the circle Blackshaw Head now")
}

// copy copies the node's directory while it is dead, and starts it again.
func (h *house) copy() string {
	h.Helper()
	h.process.kill()
	to := filepath.Join(h.TempDir(), "copy")
	copyTree(h.T, h.dir, to)
	h.process = startServe(h, h.dir)
	h.process.waitReady(h)
	return to
}

// putBack puts a copy in the place of the node's directory.
func (h *house) putBack(from string) {
	h.Helper()
	h.process.kill()
	replaceTree(h.T, h.dir, from)
	h.process = startServe(h, h.dir)
	h.process.waitReady(h)
}

// has tells whether somebody of this name lives there.
func (h *house) has(name string) bool {
	h.Helper()
	var list member.People
	if err := h.operator.View(h.Context(), "member.list", nil, &list); err != nil {
		h.Fatal(err)
	}
	return slices.ContainsFunc(list.People, func(l member.Listed) bool { return l.Name == name })
}
