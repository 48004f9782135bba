package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
)

const pageTimeout = 60 * time.Second

// browser is the one Chromium of all tests here; every test opens tabs of its own in it.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("the page tests need Chromium; make deps installs it: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true),
		chromedp.UserDataDir(filepath.Join(profileDir, "profile")))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	closeBrowser = func() {
		chromedp.Cancel(ctx) //nolint:errcheck // the tests are over
		cancel()
	}
	return ctx, chromedp.Do(ctx)
})

var (
	closeBrowser = func() {}
	profileDir   string
)

func TestMain(m *testing.M) {
	var err error
	if profileDir, err = os.MkdirTemp("", "carecircle-pages-"); err != nil {
		panic(err)
	}
	code := m.Run()
	closeBrowser()
	os.RemoveAll(profileDir) //nolint:errcheck // the machine clears it
	os.Exit(code)
}

// tab is one page open in the browser, with what went wrong on it.
type tab struct {
	*site
	ctx context.Context
	mu  sync.Mutex
	bad []string // console errors, and requests to elsewhere
}

func (s *site) tab(t *testing.T) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser says nothing of races")
	}
	b, err := browser()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(b, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	open := &tab{site: s, ctx: ctx}
	if err := chromedp.Listen(ctx, open.watch); err != nil {
		t.Fatal(err)
	}
	return open
}

func (b *tab) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || (u.Scheme != "data" && u.Scheme != "blob" &&
			!strings.HasPrefix(e.Request.URL, b.server.URL)) {
			b.bad = append(b.bad, "asked elsewhere: "+e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.bad = append(b.bad, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.bad = append(b.bad, fmt.Sprintf("console: %v", e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.bad = append(b.bad, "console: "+e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// complaints returns what went wrong since it was last asked.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	bad := b.bad
	b.bad = nil
	return bad
}

func (b *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		var where string
		where, _ = chromedp.Run(b.ctx, chromedp.Location())
		t.Fatalf("at %s: %v", where, err)
	}
}

func evaluate[T any](t *testing.T, b *tab, script string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%.80s: %v", script, err)
	}
	return got
}

func (b *tab) size(t *testing.T, width, height int64) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, height))
}

func (b *tab) open(t *testing.T, path string) {
	t.Helper()
	b.do(t, chromedp.Navigate(b.server.URL+path), chromedp.WaitReady(chromedp.CSS("#maincontent")))
	if got := evaluate[string](t, b, "location.pathname + location.search"); got != path {
		t.Fatalf("asked for %s, got to %s", path, got)
	}
}

// signIn uses a link, as somebody does who has no passkey.
func (b *tab) signIn(t *testing.T, name string) {
	t.Helper()
	b.open(t, "/enter/"+b.link(name))
	b.submit(t, "#maincontent button")
	b.complaints()
}

// press is Enter on a button or a link: a click goes to where it last stood, and misses if the page moves.
func press(what string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(what), kb.Enter)
}

// submit presses a form's button and waits for the page that answers.
func (b *tab) submit(t *testing.T, button string) {
	t.Helper()
	evaluate[chromedp.Void](t, b, `void (document.documentElement.dataset.old = "yes")`)
	b.do(t, press(button), chromedp.WaitReady(chromedp.CSS("html:not([data-old]) #maincontent")))
}

var axe = sync.OnceValues(func() (string, error) {
	raw, err := os.ReadFile("assets/node_modules/axe-core/axe.min.js")
	if err != nil {
		return "", fmt.Errorf("the accessibility checker is not here; make assets fetches it: %w", err)
	}
	return string(raw), nil
})

type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// accessible runs the accessibility checker over the page as it stands.
func (b *tab) accessible(t *testing.T, page string) {
	t.Helper()
	script, err := axe()
	if err != nil {
		t.Fatal(err)
	}
	evaluate[chromedp.Void](t, b, script+"; void 0")
	raw := evaluate[string](t, b, `axe.run(document, {resultTypes: ["violations"]}).then(
		(found) => JSON.stringify(found.violations))`)
	var violations []violation
	if err := json.Unmarshal([]byte(raw), &violations); err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		for _, n := range v.Nodes {
			t.Errorf("%s: %s (%s): %s\n%s", page, v.Help, v.ID, n.HTML, n.FailureSummary)
		}
	}
}

func (b *tab) screenshot(t *testing.T, name string) {
	t.Helper()
	if screenshots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	name = strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(strings.Trim(name, "/"))
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// check looks a page over at one size: accessible, nothing in the console, nothing asked elsewhere, nothing
// that sticks out at the side.
func (b *tab) check(t *testing.T, page string, width int64) {
	t.Helper()
	name := fmt.Sprintf("%s at %d", page, width)
	b.accessible(t, name)
	if over := evaluate[int](t, b, `document.documentElement.scrollWidth - window.innerWidth`); over > 0 {
		culprits := evaluate[string](t, b, `[...document.querySelectorAll("body *")]
			.filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1)
			.slice(0, 5).map((e) => e.outerHTML.slice(0, 120)).join("\n")`)
		t.Errorf("%s: the page is %d points too wide: %s", name, over, culprits)
	}
	for _, bad := range b.complaints() {
		t.Errorf("%s: %s", name, bad)
	}
	b.screenshot(t, name)
}

var memberPages = []string{
	"/coins", "/coins/statement?before=9", "/coins/give", "/coins/pay", "/coins/abroad", "/coins/journey",
	"/circle", "/find", "/find/contacts", "/find/ask?name=Wendy", "/find?q=tea&from=HX7+8&within=10&open=yes",
	"/me", "/me/shown", "/me/move", "/me/kept", "/me/erase", "/me?offer=passkey", "/welcome",
}

// TestEveryPage looks every page over at the width of a phone and of a desk, and for a page that is too wide
// on the narrowest of phones.
func TestEveryPage(t *testing.T) {
	s := story(t)
	stranger, alice, farida, dev := s.tab(t), s.tab(t), s.tab(t), s.tab(t)
	s.must("operator", "findable.sectors", findable.Sectors{Sectors: []findable.Sector{
		{Sector: "HX7 8", Lat: 5374000, Lng: -201000}, {Sector: "HX7 7", Lat: 5376000, Lng: -206000},
	}})
	for who, sector := range map[string]string{"Alice": "HX7 8", "Wendy": "HX7 7", "Ben": "HX7 8"} {
		s.must(who, "findable.choose", findable.Choose{Card: findable.Choice{
			Name: who, Words: "Tea, and a very long walk up to the moor and back again by the reservoir",
			Kinds: findable.Kinds, Languages: []string{"English"}, Sector: sector, Open: true,
			Times: []findable.Time{{Day: 1, From: 480, To: 1260}},
		}})
	}
	for from, to := range map[string]int{"Alice": 1, "Wendy": 0} {
		card := s.shown(to)
		s.must(from, "findable.ask", findable.Ask{
			Circle: string(card.Circle), Card: card.ID, Words: machine.Text("", "May I come by?\nI am "+from),
		})
	}
	peer := machine.PeerActor(s.links[0].Circle)
	s.must(peer, "moving.asked", moving.Asked{
		ID: strings.Repeat("ab", 16), Name: machine.Text("", "Rhys"), Words: machine.Text("", "Hello"),
	})
	v := s.signedIn("Alice")
	given := v.post("/coins/pay", with(v.form("/coins/pay", "kind"), "to", s.people["Ben"], "kind", "a lift",
		"coins", "1", "note", "You drove through the snow.")).location
	alice.signIn(t, "Alice")
	farida.signIn(t, "Farida")
	dev.signIn(t, "Alice")
	for _, size := range [][2]int64{{390, 844}, {1280, 900}, {320, 640}} {
		for _, b := range []*tab{stranger, alice, farida, dev} {
			b.size(t, size[0], size[1])
		}
		look := func(b *tab, page string) {
			b.open(t, page)
			b.check(t, page, size[0])
		}
		for _, page := range []string{"/signin", "/enter/abcdefghijklmnop"} {
			look(stranger, page)
		}
		for _, page := range memberPages {
			look(alice, page)
		}
		look(alice, given)
		look(farida, "/circle/coordinate")
		look(farida, "/circle/arrivals")
		look(farida, "/circle/allies")
		look(farida, "/circle")
		look(dev, "/coins?for="+s.people["Dev"])
	}
}

// TestMistakes looks over the pages that say what is wrong.
func TestMistakes(t *testing.T) {
	s := story(t)
	stranger, alice, farida := s.tab(t), s.tab(t), s.tab(t)
	alice.signIn(t, "Alice")
	farida.signIn(t, "Farida")
	for _, size := range [][2]int64{{390, 844}, {1280, 900}} {
		for _, b := range []*tab{stranger, alice, farida} {
			b.size(t, size[0], size[1])
		}
		for _, c := range []struct {
			b            *tab
			page, button string
		}{
			{stranger, "/enter/abcdefghijklmnop", "#maincontent button"},
			{
				stranger, "/signin",
				`form[action="/signin/link"] button`,
			},
			{alice, "/coins/give", "#maincontent form[method=post] > .nhsuk-button"},
			{
				alice, "/coins/pay",
				"#maincontent form[method=post] > .nhsuk-button",
			},
			{alice, "/coins/abroad", "#maincontent form[method=post] > .nhsuk-button"},
			{farida, "/circle/coordinate", "#work button"},
			{
				farida, "/circle/allies",
				`form[action$="meet"] button`,
			},
			{farida, "/circle/allies", `form[action$="consent"] button`},
		} {
			c.b.open(t, c.page)
			if strings.Contains(c.button, "consent") {
				c.b.do(t, chromedp.SetValue(chromedp.CSS(`form[action$="consent"] [name=coins]`), "many"))
			}
			c.b.submit(t, c.button)
			c.b.complaints() // a browser notes every answer that is not a 200
			c.b.check(t, c.page+"-wrong", size[0])
			if title := evaluate[string](t, c.b, "document.title"); !strings.Contains(c.page, "enter") &&
				!strings.HasPrefix(title, "Please check") {
				t.Errorf("%s: the title does not say that something is wrong: %q", c.page, title)
			}
		}
		farida.open(t, "/circle/coordinate")
		farida.do(t, chromedp.SendKeys(chromedp.CSS("#invite-name"), "Joan"))
		farida.submit(t, "#invite button")
		farida.check(t, "/circle/coordinate-link", size[0])
		alice.open(t, "/nowhere")
		alice.complaints()
		alice.check(t, "/nowhere", size[0])
	}
}

// TestWithoutScripts does with forms alone what people do most.
func TestWithoutScripts(t *testing.T) {
	s := story(t)
	b := s.tab(t)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.open(t, "/enter/"+s.invite("Łukasz"))
	b.do(t, press("#maincontent button"), chromedp.WaitReady(chromedp.CSS(`form[action="/me/choose"]`)))
	b.do(t, chromedp.SendKeys(chromedp.CSS("#shownName"), "!"), chromedp.SendKeys(chromedp.CSS("#seen"), " "))
	b.do(t, press("#maincontent .nhsuk-button"), chromedp.WaitReady(chromedp.CSS("#passkeys")))
	s.earn("Łukasz", 180, "community lunch", "")

	b.open(t, "/coins/give?to=pool")
	b.do(t, chromedp.SendKeys(chromedp.CSS("#coins"), "1,5"))
	picture := filepath.Join(t.TempDir(), "beans.jpg")
	if err := os.WriteFile(picture, photo(1200, 900), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do(t, chromedp.SendKeys(chromedp.CSS("#picture"), picture))
	b.do(t, chromedp.SendKeys(chromedp.CSS("#alt"), "Beans"))
	b.do(t, press("#maincontent form[method=post] > .nhsuk-button"),
		chromedp.WaitReady(chromedp.CSS(".cc-station__picture")))
	b.open(t, "/coins")
	b.do(t, press(`form[action="/coins/code"] button`), chromedp.WaitReady(chromedp.CSS("#my-code")))
	b.do(t, press(".cc-header__out"), chromedp.WaitReady(chromedp.CSS(`form[action="/signin/link"]`)))
	if got := view[coin.Mine](s.town, "Łukasz", "coin.mine"); got.Balance != 90 {
		t.Errorf("after it all: %+v", got)
	}
	for _, bad := range b.complaints() {
		t.Error(bad)
	}
}

// TestLive has coins move while a page is open: the page follows by itself.
func TestLive(t *testing.T) {
	s := story(t)
	b := s.tab(t)
	b.signIn(t, "Wendy")
	b.open(t, "/coins")
	until := func(selector, words string) {
		t.Helper()
		b.do(t, chromedp.PollFunction[chromedp.Void](`(selector, words) =>
			document.querySelector(selector)?.textContent.replace(/\s+/g, " ").includes(words)`,
			chromedp.WithPollingArgs(selector, words)))
	}
	until("#balance", "11 coins")
	s.waitWatched()
	s.must("Ben", "coin.give", coin.Give{To: s.people["Wendy"], Minutes: 60, Note: machine.Text("", "Live!")})
	until("#balance", "12 coins")
	until("#statement", "Live!")
	until("#live-say", "Your coins have changed.")
	for _, bad := range b.complaints() {
		t.Error(bad)
	}
}

// TestShowOlder asks for older lines within the page.
func TestShowOlder(t *testing.T) {
	s := story(t)
	b := s.tab(t)
	b.signIn(t, "Ben")
	b.open(t, "/coins")
	b.do(t, press("#older a"),
		chromedp.PollFunction[chromedp.Void](
			`() => document.querySelectorAll(".cc-statement tbody tr").length === 27`))
	if where := evaluate[string](t, b, "location.pathname"); where != "/coins" {
		t.Errorf("the page was left for %s", where)
	}
	b.check(t, "/coins with older lines", 1280)
}

// TestHoursAsTyped says an amount in hours while it is typed.
func TestHoursAsTyped(t *testing.T) {
	s := story(t)
	b := s.tab(t)
	b.signIn(t, "Wendy")
	for typed, want := range map[string]string{
		"1.5": "That is 1 hour and 30 minutes.", "0,25": "That is 15 minutes.",
		"2:05": "That is 2 hours and 5 minutes.",
		"0.33": "", "many": "",
	} {
		b.open(t, "/coins/pay")
		b.do(t, chromedp.SendKeys(chromedp.CSS("#coins"), typed))
		if said := evaluate[string](t, b,
			`document.querySelector("[data-hours-of]").textContent`); said != want {
			t.Errorf("%q is said as %q, want %q", typed, said, want)
		}
	}
}

// TestPasskey adds a passkey with an authenticator that lives in the browser, signs out and in with it.
func TestPasskey(t *testing.T) {
	s := story(t)
	b := s.tab(t)
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	_, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true,
			AutomaticPresenceSimulation: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.signIn(t, "Wendy")
	b.open(t, "/me?offer=passkey")
	b.do(t, chromedp.SetValue(chromedp.CSS("#passkey-name"), "Wendy's tablet"))
	b.submit(t, "[data-passkey=register]")
	text := evaluate[string](t, b, `document.querySelector("#passkeys").innerText`)
	if !strings.Contains(text, "Wendy's tablet") {
		t.Fatalf("the passkey is not listed: %s", text)
	}
	b.submit(t, ".cc-header__out")
	b.submit(t, "[data-passkey=signin]")
	if where := evaluate[string](t, b, "location.pathname"); where != "/coins" {
		t.Fatalf("signed in with the passkey, got to %s", where)
	}
	b.open(t, "/me")
	b.submit(t, `form[action="/me/passkeys/remove"] button`)
	b.submit(t, ".cc-header__out")
	b.complaints()
	b.do(t, press("[data-passkey=signin]"),
		chromedp.PollFunction[chromedp.Void](`() => document.querySelector("#passkey-status").textContent &&
			!document.querySelector("[data-passkey=signin]").disabled`))
	said := evaluate[string](t, b, `document.querySelector("#passkey-status").textContent`)
	if !strings.Contains(said, "passkey") {
		t.Errorf("a passkey that was removed: %q", said)
	}
}
