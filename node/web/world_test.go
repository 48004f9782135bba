package web_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
	"github.com/carecircle/carecircle/node/web"
)

// town is one circle in memory. Its clock runs like the real one, some time behind while its story is told.
type town struct {
	t       testing.TB
	name    string
	machine *machine.Machine
	key     ed25519.PrivateKey
	people  map[string]string // by name

	mu       sync.Mutex
	kv       *machine.Mem
	behind   time.Duration
	watchers map[chan []machine.Event]bool
	watched  chan struct{} // holds one thing once somebody watches
	broken   error         // what Do answers instead of doing anything
}

func newTown(t testing.TB, name string) *town {
	t.Helper()
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	seed := sha256.Sum256([]byte(name))
	return &town{
		t: t, name: name, machine: m, key: ed25519.NewKeyFromSeed(seed[:]), people: map[string]string{},
		kv: machine.NewMem(), watchers: map[chan []machine.Event]bool{},
		watched: make(chan struct{}, 1),
	}
}

func (w *town) public() ed25519.PublicKey { return w.key.Public().(ed25519.PublicKey) }
func (w *town) id() letter.CircleID       { return letter.CircleIDOf(w.public()) }

func (w *town) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(-w.behind)
}

// ago sets the clock back for the commands that follow.
func (w *town) ago(days int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behind = time.Duration(days) * 24 * time.Hour
}

// Machine implements api.Circle.
func (w *town) Machine() *machine.Machine { return w.machine }

// Do implements the Circle of the pages, the gate and the API.
func (w *town) Do(_ context.Context, c machine.Command) (machine.Outcome, error) {
	if w.broken != nil {
		return machine.Outcome{}, w.broken
	}
	c.At = w.Now().UnixMilli()
	if err := w.machine.Check(c); err != nil {
		return machine.Outcome{Refusal: machine.AsError(err)}, nil
	}
	raw, err := c.Encode()
	if err != nil {
		return machine.Outcome{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out, err := w.machine.Apply(w.kv, raw)
	for watcher := range w.watchers {
		watcher <- out.Events
	}
	return out, err
}

// View implements the Circle of the pages, the gate and the API.
func (w *town) View(
	_ context.Context, by machine.Caller, name string, set func(query any) error,
) (any, error) {
	now := w.Now().UnixMilli()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.machine.View(machine.Read{Reader: w.kv, Caller: by, Now: now}, name, set)
}

// Watch implements api.Circle.
func (w *town) Watch() (<-chan []machine.Event, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watcher := make(chan []machine.Event, 100)
	w.watchers[watcher] = true
	select {
	case w.watched <- struct{}{}:
	default:
	}
	return watcher, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, watcher)
	}
}

// waitWatched returns when somebody follows the events.
func (w *town) waitWatched() {
	w.t.Helper()
	select {
	case <-w.watched:
	case <-time.After(pageTimeout):
		w.t.Fatal("no page follows the events")
	}
}

// by names a caller: a person by name, or a reserved actor.
func (w *town) by(name string) machine.Caller {
	if id, ok := w.people[name]; ok {
		return machine.Caller{Actor: id}
	}
	return machine.Caller{Actor: name}
}

// must does a command that has to work.
func (w *town) must(by, kind string, body any) any {
	w.t.Helper()
	return w.send(w.by(by), kind, body)
}

func (w *town) send(by machine.Caller, kind string, body any) any {
	w.t.Helper()
	id, err := api.NewID()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := machine.NewCommand(id, by, 0, kind, body)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.Do(w.t.Context(), c)
	if err != nil || out.Refusal != nil {
		w.t.Fatalf("%s: %s by %s: %v %v", w.name, kind, by.Actor, err, out.Refusal)
	}
	return out.Result
}

func view[A any](w *town, by, name string) A {
	w.t.Helper()
	got, err := w.View(w.t.Context(), w.by(by), name, nil)
	if err != nil {
		w.t.Fatalf("view %s by %s: %v", name, by, err)
	}
	return got.(A)
}

// link readies a sign-in link and returns its secret.
func (w *town) link(person string) string {
	w.t.Helper()
	secret, hash, err := auth.NewSecret()
	if err != nil {
		w.t.Fatal(err)
	}
	w.must("operator", "member.link", member.Link{
		Person: w.people[person], Link: hash, Until: w.Now().Add(time.Hour).UnixMilli(),
	})
	return secret
}

func (w *town) invite(name string, hats ...string) string {
	w.t.Helper()
	secret, hash, err := auth.NewSecret()
	if err != nil {
		w.t.Fatal(err)
	}
	w.people[name] = w.must("operator", "member.invite", member.Invite{
		Name: machine.Text("", name), Hats: hats, Link: hash, Until: w.Now().Add(time.Hour).UnixMilli(),
	}).(member.Made).Person
	return secret
}

// enter uses a link without a browser, and returns the session's token.
func (w *town) enter(secret string) string {
	w.t.Helper()
	token, hash, err := auth.NewSecret()
	if err != nil {
		w.t.Fatal(err)
	}
	w.must("node", "member.enter", member.Enter{
		Link: auth.HashLink(secret), Session: hash, Until: w.Now().Add(29 * 24 * time.Hour).UnixMilli(),
	})
	return token
}

// join makes a member who chose whether to be seen.
func (w *town) join(name string, seen bool, hats ...string) {
	w.t.Helper()
	w.enter(w.invite(name, hats...))
	w.must(name, "member.choose", member.Choose{Name: machine.Text("", name), Seen: seen, Journey: seen})
}

func (w *town) found(founder string) {
	w.t.Helper()
	w.people[founder] = w.must("operator", "member.found", member.Found{
		Circle: string(w.id()), Key: w.public(), Name: w.name, Place: "Calderdale",
		Aim:     "Neighbours giving and getting support on terms they choose themselves.",
		Founder: machine.Text("", founder),
	}).(member.Made).Person
	w.enter(w.link(founder))
	w.must(founder, "member.choose", member.Choose{
		Name: machine.Text("", founder), Seen: true,
		Journey: true,
	})
	w.must(founder, "coin.policy", coin.SetPolicy{
		FloorMinutes: -300, WelcomeMinutes: 600, AutoGift: true, EarnDayMinutes: 720, ReviewOn: "2027-09-30",
		Decision: "HB-3",
	})
}

func (w *town) earn(who string, minutes int64, activity, place string) {
	w.t.Helper()
	w.must("operator", "coin.earn", coin.Earn{
		Person: w.people[who], Minutes: minutes, Activity: activity, Place: place,
	})
}

func (w *town) card() []byte {
	w.t.Helper()
	host := "12D3KooW" + w.name[:1]
	raw, err := charter.Seal(w.key, charter.Card{
		Circle: w.id(), Name: w.name, Place: "Calderdale", Aim: "care", Key: w.public(), Seq: 1,
		Hosts: []charter.Host{{Peer: host, Until: 1 << 50}}, Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" +
			host},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// deliver carries the letters that wait at one town to another.
func deliver(from, to *town) {
	from.t.Helper()
	var nonce courier.Nonce
	if _, err := rand.Read(nonce[:]); err != nil {
		from.t.Fatal(err)
	}
	by := machine.Caller{Actor: machine.PeerActor(string(from.id()))}
	welcomed := to.send(by, "exchange.session", exchange.Session{Nx: nonce, Ny: nonce}).(exchange.Welcomed)
	var letters []letter.Signed
	for _, raw := range exchange.Outbox(from.kv, to.id(), welcomed.Held.Seq+1, 1<<40) {
		letters = append(letters, letter.Sign(from.key, raw))
	}
	if len(letters) > 0 {
		to.send(by, "exchange.receive", exchange.Receive{Nx: nonce, Ny: nonce, Records: letters})
	}
}

func settle(a, b *town) {
	for range 4 {
		deliver(a, b)
		deliver(b, a)
	}
}

func ally(a, b *town, secretaryA, secretaryB string, minutes int64) {
	a.must(secretaryA, "exchange.meet", exchange.Meet{Card: b.card()})
	b.must(secretaryB, "exchange.meet", exchange.Meet{Card: a.card()})
	terms := exchange.Ally{LimitMinutes: minutes, ReviewOn: "2027-03-01", Decision: "HB-9"}
	terms.Circle = string(b.id())
	a.must(secretaryA, "exchange.ally", terms)
	settle(a, b)
	terms.Circle = string(a.id())
	b.must(secretaryB, "exchange.ally", terms)
	settle(a, b)
}

// site is a town with its pages, gate and API, served on this machine.
type site struct {
	*town
	server *httptest.Server
	logged *strings.Builder
	links  []web.Link

	compared *exchange.Comparison // nil: the other circle does not answer
}

func serve(w *town) *site {
	w.t.Helper()
	s := &site{town: w, logged: &strings.Builder{}}
	mux := http.NewServeMux()
	var handler http.Handler
	s.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(rw, r)
	}))
	s.server.URL = strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1)
	w.t.Cleanup(s.server.Close)
	log := slog.New(slog.NewTextHandler(s.logged, nil))
	gate, err := auth.New(auth.Config{Circle: w, Origin: s.server.URL, Name: w.name, Now: w.Now, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	pages, err := web.New(web.Config{
		Circle: w, Gate: gate, Caller: auth.CallerFrom, StatusOf: auth.StatusOf, NewID: api.NewID,
		NewSecret: auth.NewSecret, Origin: s.server.URL,
		Card:     func() string { return charter.Text(w.card()) },
		OpenCard: charter.ParseText, Links: func() []web.Link { return s.links }, Version: "test", Now: w.Now,
		Log: log, Find: w.find, Compare: s.compare,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	pages.Routes(mux)
	for _, route := range gate.Handlers() {
		mux.Handle(route.Pattern, route.Handler)
	}
	machineAPI, err := api.New(api.Config{
		Circle: w, Caller: auth.CallerFrom, StatusOf: auth.StatusOf, Log: log,
	}, w.name, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	machineAPI.Routes(mux)
	handler = gate.Identify(gate.Protect(mux))
	return s
}

// story tells the towns' story up to today: what the pages have to show.
func story(t testing.TB) *site {
	hb, bh, td := newTown(t, "Hebden Bridge"), newTown(t, "Blackshaw Head"), newTown(t, "Todmorden")
	for _, w := range []*town{hb, bh, td} {
		w.ago(40)
	}
	hb.found("Farida")
	bh.found("Orla")
	td.found("Tariq")
	for name, seen := range map[string]bool{
		"Wendy": true, "Alice": true, "Ben": true, "Norah": false,
		"Dev": false,
	} {
		hb.join(name, seen)
	}
	hb.invite("Kathleen")
	bh.join("Irene", true)
	ally(hb, bh, "Farida", "Orla", 2400)
	hb.must("Farida", "exchange.meet", exchange.Meet{Card: td.card()})
	td.must("Tariq", "exchange.meet", exchange.Meet{Card: hb.card()})
	td.must("Tariq", "exchange.ally", exchange.Ally{
		Circle: string(hb.id()), LimitMinutes: 1200,
		ReviewOn: "2027-06-01",
	})
	settle(hb, td)
	hb.must("Farida", "coin.place", coin.AddPlace{Place: "hub-garden", Name: "The hub garden"})
	hb.must("Farida", "coin.place", coin.AddPlace{Place: "repair-cafe", Name: "Repair café"})
	tellCoins(hb, bh)
	for _, w := range []*town{hb, bh, td} {
		w.ago(0)
	}
	s := serve(hb)
	s.links = []web.Link{
		{Circle: string(bh.id()), Connected: true}, {Circle: string(td.id()), LastError: "no route to host"},
	}
	return s
}

func tellCoins(hb, bh *town) {
	for i := range 12 {
		hb.ago(38 - i)
		hb.earn("Ben", 180, "hub garden", "The hub garden")
		hb.must("Ben", "coin.give", coin.Give{To: coin.Pool, Minutes: 180})
		hb.earn("Wendy", 60, "community lunch", "Old Town hall")
	}
	hb.ago(25)
	hb.earn("Ben", 360, "hub garden", "The hub garden")
	hb.must("Ben", "coin.give", coin.Give{
		To: coin.Pool, Minutes: 360, Note: machine.Text("", "Beans in a row,\nhands in the rain."),
		Picture: &coin.Picture{Data: photo(640, 480), Alt: machine.Text("", "Beans in the hub garden")},
	})
	hb.ago(20)
	hb.must("Farida", "coin.welcome", coin.Welcome{Person: hb.people["Norah"]})
	hb.must("Farida", "coin.welcome", coin.Welcome{Person: hb.people["Alice"]})
	hb.must("Norah", "coin.pay", coin.Pay{
		To: hb.people["Alice"], Minutes: 120, Activity: "company", Note: machine.Text("",
			"You made the tea."),
	})
	hb.ago(10)
	bh.ago(10)
	hb.must("Alice", "coin.pay", coin.Pay{To: hb.people["Ben"], Minutes: 75, Activity: "a lift"})
	hb.must("Wendy", "coin.give", coin.Give{
		To: hb.people["Alice"], Minutes: 60, Note: machine.Text("", "For the long afternoon."),
		Picture: &coin.Picture{Data: photo(400, 600), Alt: machine.Text("", "Two mugs on a garden table")},
	})
	hb.must("Alice", "exchange.code", exchange.SetCode{Code: "ALCE2345"})
	bh.must("Irene", "exchange.code", exchange.SetCode{Code: "IRENE222"})
	bh.must("Irene", "exchange.pay", exchange.Pay{
		Circle: string(hb.id()), Code: "ALCE2345", Minutes: 90, Activity: "shopping",
	})
	abroad := exchange.Pay{Circle: string(bh.id()), Code: "IRENE222", Minutes: 60, Activity: "a meal"}
	hb.must("Alice", "exchange.pay", abroad)
	abroad.Code = "NXBXDY22"
	hb.must("Alice", "exchange.pay", abroad)
	settle(hb, bh)
	hb.ago(1)
	abroad.Code, abroad.Minutes = "IRENE222", 45
	hb.must("Alice", "exchange.pay", abroad) // still waits
	hb.must("Dev", "member.acting-allow", member.AllowActing{
		Person: hb.people["Dev"], Advocate: hb.people["Alice"], Kinds: []string{"coin"},
	})
}

// visitor is a browser without scripts.
type visitor struct {
	*site
	client *http.Client
}

// compare stands in for the node's comparison of books: what a test has put there.
func (s *site) compare(ctx context.Context, by machine.Caller, circle string) (exchange.Comparison, error) {
	if _, err := s.View(ctx, by, "exchange.books", func(q any) error {
		q.(*exchange.WhichBooks).Circle = circle
		return nil
	}); err != nil {
		return exchange.Comparison{}, err
	}
	if s.compared == nil {
		return exchange.Comparison{}, machine.Later("not_reached",
			"The other circle does not answer just now.")
	}
	return *s.compared, nil
}

func (s *site) stranger() *visitor {
	jar := cookies{}
	return &visitor{site: s, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request,
			[]*http.Request,
		) error {
			return http.ErrUseLastResponse
		},
	}}
}

// cookies keeps cookies by name: the tests have one origin only.
type cookies map[string]*http.Cookie

func (c cookies) SetCookies(_ *url.URL, got []*http.Cookie) {
	for _, one := range got {
		if one.MaxAge < 0 {
			delete(c, one.Name)
		} else {
			c[one.Name] = one
		}
	}
}

func (c cookies) Cookies(*url.URL) []*http.Cookie {
	var out []*http.Cookie
	for _, one := range c {
		out = append(out, &http.Cookie{Name: one.Name, Value: one.Value})
	}
	return out
}

func (s *site) signedIn(name string) *visitor {
	v := s.stranger()
	if got := v.post("/enter/"+s.link(name), nil); got.status != http.StatusSeeOther {
		s.t.Fatalf("%s cannot sign in: %d %s", name, got.status, got.body)
	}
	return v
}

// screenshots is where the browser tests put pictures of every page; empty: nowhere.
var screenshots = os.Getenv("CARECIRCLE_SCREENSHOTS")
