package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/vbauerster/mpb/v8"
)

const browserTimeout = 60 * time.Second

// tour is a browser with the demo federation behind it.
type tour struct {
	*testing.T
	demo *demo
	ctx  context.Context
}

// newTour plays the demo and opens Chromium.
func newTour(t *testing.T) *tour {
	t.Helper()
	d := &demo{dir: t.TempDir(), log: slog.New(slog.DiscardHandler), progress: io.Discard}
	d.bar = mpb.New(mpb.WithOutput(io.Discard)).AddBar(demoSteps())
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := d.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &tour{T: t, demo: d, ctx: newBrowser(t)}
}

// newBrowser opens Chromium.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("this test needs Chromium; make deps installs it: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-component-update",
			true), chromedp.UserDataDir(t.TempDir()))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		chromedp.Cancel(ctx) //nolint:errcheck // the test is over
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func (b *tour) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatalf("%v; the page says:\n%s", err, b.says())
	}
}

func (b *tour) says() string {
	ctx, cancel := context.WithTimeout(b.ctx, browserTimeout)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

func (b *tour) open(url string) {
	b.Helper()
	b.do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("#maincontent")))
}

// press is Enter on a button: unlike a click it cannot miss one that moves meanwhile.
func (b *tour) press(selector string) {
	b.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), kb.Enter))
}

func (b *tour) expect(words ...string) {
	b.Helper()
	var text string
	err := until(b.ctx, "the page says so", func() (bool, error) {
		text = b.says()
		for _, w := range words {
			if !strings.Contains(strings.ToLower(text), strings.ToLower(w)) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		b.Fatalf("the page does not say all of %q. It says:\n%s", words, text)
	}
}

// shot keeps a picture of the page, in the folder that -outputdir or the artifacts of go test name.
func (b *tour) shot(name string) {
	b.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// accessible runs the accessibility checker over the page.
func (b *tour) accessible(page string) {
	b.Helper()
	script, err := os.ReadFile("../../node/web/assets/node_modules/axe-core/axe.min.js")
	if err != nil {
		b.Fatalf("the accessibility checker is not here; make assets fetches it: %v", err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, browserTimeout)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](string(script)+"; void 0")); err != nil {
		b.Fatal(err)
	}
	found, err := chromedp.Run(ctx, chromedp.Evaluate[string](
		`axe.run(document).then((r) => JSON.stringify(r.violations.map((v) => v.id + ": " + v.help)))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil || len(violations) > 0 {
		b.Errorf("%s: %v %v", page, violations, err)
	}
}

// enter signs a person in by a link, as the demo prints it.
func (b *tour) enter(p *player, who string) {
	b.Helper()
	link, err := makeLink(b.ctx, p.node, p.ids[who])
	if err != nil {
		b.Fatal(err)
	}
	b.open(link)
	b.press("#maincontent form button")
	b.expect("My coins")
}

// TestDemoInBrowser walks through the demo as Alice: her coins, the journey of the coin she kept, and a
// passkey
// made and used; then every page of all three circles is checked for accessibility, on a phone and at a desk.
func TestDemoInBrowser(t *testing.T) {
	b := newTour(t)
	b.enter(b.demo.hb, "Alice")
	b.open(b.demo.hb.node.Origin() + "/coins/journey")
	for _, width := range []int64{390, 1280} {
		b.do(chromedp.EmulateViewport(width, 844))
		b.expect("hub garden", "Hebden Bridge", "company", "The first beans of the year")
		drawn, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`
			document.querySelectorAll("#maincontent svg").length >= 4 &&
			[...document.querySelectorAll("#maincontent img")].some((i) => i.complete &&
				i.naturalWidth > 0)`))
		if err != nil || !drawn {
			t.Errorf("at %d: the journey is not drawn, or its picture does not show: %v", width, err)
		}
		b.shot(fmt.Sprintf("journey-%d", width))
	}
	b.passkey()
	for _, visit := range []struct {
		p   *player
		who string
	}{{b.demo.hb, "Farida"}, {b.demo.bh, "Irene"}, {b.demo.hub, "Hamid"}} {
		b.enter(visit.p, visit.who)
		for _, page := range []string{
			"/coins", "/coins/give", "/coins/pay", "/coins/abroad", "/coins/journey", "/circle",
			"/circle/coordinate",
			"/circle/allies", "/find", "/find?kind=companionship&from=HX7+8&within=10", "/me", "/me/shown",
		} {
			for _, width := range []int64{390, 1280} {
				b.do(chromedp.EmulateViewport(width, 844))
				b.open(visit.p.node.Origin() + page)
				b.accessible(fmt.Sprintf("%s as %s at %d", page, visit.who, width))
				b.shot(fmt.Sprintf("%s%s-%d", visit.who, strings.ReplaceAll(page, "/", "-"), width))
			}
		}
	}
}

// passkey makes a passkey on Alice's settings, signs out, and signs in with it.
func (b *tour) passkey() {
	b.Helper()
	b.do(chromedp.EmulateViewport(1280, 900))
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		b.Fatal(err)
	}
	_, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: "internal", HasResidentKey: true,
			HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.open(b.demo.hb.node.Origin() + "/me")
	b.do(chromedp.SetValue(chromedp.CSS("#passkey-name"), "Alice's tablet"))
	b.press(`[data-passkey="register"]`)
	b.expect("Alice's tablet", "Added")
	b.press(`form[action="/signout"] button`)
	b.expect("You are signed out")
	b.press(`[data-passkey="signin"]`)
	b.expect("My coins")
}
