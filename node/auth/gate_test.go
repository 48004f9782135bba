package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/auth"
)

const (
	origin     = "https://hb.example"
	anAddress  = "192.0.2.7:4711"
	theSecrets = "operator's own token"
)

// clock is a time that tests move by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// running is a circle of one replica: the real machine and rules over state in memory.
type running struct {
	mu      sync.Mutex
	clock   *clock
	machine *machine.Machine
	state   *machine.Mem
	done    []machine.Command
	down    error // set: the circle cannot be asked
}

func (c *running) Do(_ context.Context, cmd machine.Command) (machine.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return machine.Outcome{}, c.down
	}
	if err := c.machine.Check(cmd); err != nil {
		return machine.Outcome{}, err
	}
	cmd.At = c.clock.Now().UnixMilli()
	raw, err := cmd.Encode()
	if err != nil {
		return machine.Outcome{}, err
	}
	c.done = append(c.done, cmd)
	return c.machine.Apply(c.state, raw)
}

func (c *running) View(
	_ context.Context, by machine.Caller, name string, set func(query any) error,
) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, c.down
	}
	rd := machine.Read{Reader: c.state, Caller: by, Now: c.clock.Now().UnixMilli()}
	return c.machine.View(rd, name, set)
}

func (c *running) breakDown(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
}

// holds tells whether the circle's log or state has the bytes anywhere.
func (c *running) holds(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := false
	c.state.Ascend(nil, nil, func(key, value []byte) bool {
		found = bytes.Contains(key, b) || bytes.Contains(value, b)
		return !found
	})
	return found
}

// house is a circle with a gate before it and two people invited.
type house struct {
	t         *testing.T
	clock     *clock
	circle    *running
	gate      *auth.Gate
	front     http.Handler
	log       *syncBuffer
	asha, ben string // person ids
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHouse(t *testing.T, at string) *house {
	t.Helper()
	m, err := machine.New(member.MayAct, member.Feature())
	check(t, err)
	clk := &clock{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	h := &house{
		t: t, clock: clk, log: &syncBuffer{},
		circle: &running{clock: clk, machine: m, state: machine.NewMem()},
	}
	h.gate, err = auth.New(auth.Config{
		Circle: h.circle, Origin: at, Name: "Hebden Bridge", OperatorToken: auth.HashToken(theSecrets),
		Now: clk.Now, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	check(t, err)
	mux := http.NewServeMux()
	for _, route := range h.gate.Handlers() {
		mux.HandleFunc(route.Pattern, route.Handler)
	}
	mux.HandleFunc("/", whoAsks)
	h.front = h.gate.Identify(h.gate.Protect(mux))
	h.must("member.found", member.Found{
		Circle: "c1", Key: []byte{1}, Name: "Hebden Bridge", Place: "Calderdale", Aim: "care",
		Founder: machine.Text("", "Noor"),
	})
	h.asha = h.invite("Asha Patel")
	h.ben = h.invite("Ben Ward")
	t.Cleanup(func() {
		for _, word := range []string{"Asha", "Patel", theSecrets, h.asha} {
			if strings.Contains(h.log.String(), word) {
				t.Errorf("the log names %q:\n%s", word, h.log.String())
			}
		}
	})
	return h
}

// whoAsks answers with the caller that the gate made out.
func whoAsks(w http.ResponseWriter, r *http.Request) {
	caller, known := auth.CallerFrom(r.Context())
	answer := map[string]any{"known": known, "actor": caller.Actor, "for": caller.OnBehalfOf}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(err)
	}
}

func newID() machine.ID { return machine.ID(uuid.Must(uuid.NewV7())) }

// must has the operator do a command.
func (h *house) must(kind string, body any) machine.Outcome {
	h.t.Helper()
	cmd, err := machine.NewCommand(newID(), machine.Caller{Actor: machine.ActorOperator}, 0, kind, body)
	check(h.t, err)
	out, err := h.circle.Do(h.t.Context(), cmd)
	check(h.t, err)
	if out.Refusal != nil {
		h.t.Fatalf("%s: %v", kind, out.Refusal)
	}
	return out
}

func (h *house) invite(name string) string {
	h.t.Helper()
	_, hash, err := auth.NewSecret()
	check(h.t, err)
	out := h.must("member.invite", member.Invite{
		Name: machine.Text("", name), Link: hash, Until: h.clock.Now().Add(time.Hour).UnixMilli(),
	})
	return out.Result.(member.Made).Person
}

// link readies a one-time link that lasts an hour.
func (h *house) link(person string) string {
	h.t.Helper()
	secret, hash, err := auth.NewSecret()
	check(h.t, err)
	until := h.clock.Now().Add(time.Hour).UnixMilli()
	h.must("member.link", member.Link{Person: person, Link: hash, Until: until})
	return secret
}

// token signs a person in.
func (h *house) token(person string) string {
	h.t.Helper()
	token, got, _, err := h.gate.Enter(h.t.Context(), h.link(person))
	check(h.t, err)
	if got != person {
		h.t.Fatalf("entered as %q, want %q", got, person)
	}
	return token
}

// browser sends requests and keeps cookies as a browser does.
type browser struct {
	h       *house
	address string
	cookies map[string]string
}

func (h *house) browser() *browser {
	return &browser{h: h, address: anAddress, cookies: map[string]string{}}
}

// signedIn returns a browser with a person's session in its cookie.
func (h *house) signedIn(person string) *browser {
	b := h.browser()
	b.cookies["__Host-carecircle"] = h.token(person)
	return b
}

func (b *browser) send(method, target string, body any, headers ...string) answer {
	b.h.t.Helper()
	var r *http.Request
	switch body := body.(type) {
	case nil:
		r = httptest.NewRequest(method, target, nil)
	case string:
		r = httptest.NewRequest(method, target, strings.NewReader(body))
	default:
		raw, err := json.Marshal(body)
		check(b.h.t, err)
		r = httptest.NewRequest(method, target, bytes.NewReader(raw))
	}
	r.RemoteAddr = b.address
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.h.front.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer{t: b.h.t, Response: w.Result()}
}

type answer struct {
	t *testing.T
	*http.Response
}

func (a answer) text() string {
	a.t.Helper()
	raw, err := io.ReadAll(a.Body)
	check(a.t, err)
	return string(raw)
}

// into reads a 200 answer.
func (a answer) into(v any) {
	a.t.Helper()
	raw := a.text()
	if a.StatusCode != http.StatusOK {
		a.t.Fatalf("status %d, want 200: %s", a.StatusCode, raw)
	}
	check(a.t, json.Unmarshal([]byte(raw), v))
}

// refused wants an error as JSON, with this status and code and a sentence.
func (a answer) refused(status int, code string) {
	a.t.Helper()
	raw := a.text()
	var e machine.Error
	if err := json.Unmarshal([]byte(raw), &e); err != nil || e.Code != code || e.Message == "" ||
		a.StatusCode != status {
		a.t.Fatalf("status %d, %s; want status %d and code %s", a.StatusCode, raw, status, code)
	}
}

type who struct {
	Known bool   `json:"known"`
	Actor string `json:"actor"`
	For   string `json:"for"`
}

func (a answer) who() (out who) {
	a.t.Helper()
	a.into(&out)
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return machine.AsError(err).Code
}
