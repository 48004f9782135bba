package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/api"
)

// house is a circle in memory behind the API. Whoever names themselves in the bearer token is let in.
type house struct {
	mu      sync.Mutex
	machine *machine.Machine
	kv      *machine.Mem
	now     int64
	events  chan []machine.Event
}

func (h *house) Do(_ context.Context, c machine.Command) (machine.Outcome, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.machine.Check(c); err != nil {
		return machine.Outcome{Refusal: machine.AsError(err)}, nil
	}
	h.now++
	c.At = h.now
	raw, err := c.Encode()
	if err != nil {
		return machine.Outcome{}, err
	}
	out, err := h.machine.Apply(h.kv, raw)
	if len(out.Events) > 0 {
		h.events <- out.Events
	}
	return out, err
}

func (h *house) View(
	_ context.Context, by machine.Caller, name string, set func(any) error,
) (any, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machine.View(machine.Read{Reader: h.kv, Caller: by, Now: h.now}, name, set)
}

func (h *house) Watch() (<-chan []machine.Event, func()) { return h.events, func() {} }

func (h *house) Machine() *machine.Machine { return h.machine }

type callerKey struct{}

func serve(t *testing.T) (*house, *httptest.Server) {
	t.Helper()
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{machine: m, kv: machine.NewMem(), now: 1_772_438_400_000, events: make(chan []machine.Event,
		100)}
	served, err := api.New(api.Config{
		Circle: h, Log: slog.New(slog.DiscardHandler), StatusOf: func(string) int { return 422 },
		Caller: func(ctx context.Context) (machine.Caller, bool) {
			by, ok := ctx.Value(callerKey{}).(string)
			return machine.Caller{Actor: by}, ok
		},
	}, "test", "v0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	served.Routes(mux)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if by, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, by))
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return h, server
}

func found(t *testing.T, c *api.Client) {
	t.Helper()
	_, err := c.Do(t.Context(), "", "", "member.found", member.Found{
		Circle: "c", Key: []byte("k"), Name: "HB", Place: "HB", Aim: "care", Founder: machine.Text("",
			"Farida"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestBadRequests sends what cannot be done and wants a refusal with a code and a sentence.
func TestBadRequests(t *testing.T) {
	h, server := serve(t)
	found(t, api.NewClient(server.URL, "operator"))
	before := machine.StateHash(h.kv)
	for _, c := range []struct{ as, method, path, body, code string }{
		{"operator", "POST", "/api/v1/do/coin.nonsense", `{}`, "unknown_kind"},
		{"operator", "POST", "/api/v1/do/coin.place", ``, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `[1]`, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `{"body":{"place":7}}`, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `{"body":{"plaice":"x"}}`, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `{} {}`, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `{"actor":"circle"}`, "bad_body"},
		{"operator", "POST", "/api/v1/do/coin.place", `{"id":"x"}`, "bad_id"},
		{
			"operator", "POST", "/api/v1/do/coin.place", `{"id":"` + strings.Repeat("x",
				api.MaxBodyBytes) + `"}`,
			"too_large",
		},
		{"circle", "POST", "/api/v1/do/coin.place", `{"body":{"place":"x","name":"X"}}`, "actor_reserved"},
		{"", "POST", "/api/v1/do/coin.place", `{}`, "not_signed_in"},
		{"", "GET", "/api/v1/events", ``, "not_signed_in"},
		{"operator", "GET", "/api/v1/view/no.such", ``, "unknown_view"},
		{"operator", "GET", "/api/v1/view/coin.statement?lmit=5", ``, "bad_query"},
		{"operator", "GET", "/api/v1/view/coin.statement?limit=many", ``, "bad_query"},
		{"operator", "GET", "/api/v1/view/coin.statement?limit=1&limit=2", ``, "bad_query"},
		{"", "GET", "/api/v1/view/member.list", ``, "not_a_member"},
	} {
		err := api.NewClient(server.URL, c.as).Call(t.Context(), c.method, c.path, []byte(c.body), new(any))
		if e := machine.AsError(err); err == nil || e.Code != c.code || len(e.Message) < 10 {
			t.Errorf("%s %s %.60s as %q: %v, want code %s", c.method, c.path, c.body, c.as, err, c.code)
		}
	}
	if machine.StateHash(h.kv) != before {
		t.Error("a refused request changed the state")
	}
}

// TestClient does and reads through the client, and asks the same id twice.
func TestClient(t *testing.T) {
	_, server := serve(t)
	c := api.NewClient(server.URL, "operator")
	found(t, c)
	policy := coin.SetPolicy{
		FloorMinutes: -300, WelcomeMinutes: 600, EarnDayMinutes: 720,
		ReviewOn: "2026-09-30",
	}
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Do(t.Context(), id.String(), "", "coin.policy", policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Do(t.Context(), id.String(), "", "coin.policy", policy, nil)
	if err != nil || !again.Repeated || again.Position != first.Position {
		t.Errorf("the same request again: %+v %v, first %+v", again, err, first)
	}
	policy.FloorMinutes = 0
	if _, err := c.Do(t.Context(), id.String(), "", "coin.policy", policy,
		nil); machine.AsError(err).Code != "id_reused" {
		t.Errorf("the id with another body: %v", err)
	}
	var out coin.Statement
	err = c.View(t.Context(), "coin.statement", url.Values{"account": {"pool"}, "limit": {"3"}}, &out)
	if err != nil || out.Account != "pool" {
		t.Errorf("statement: %+v %v", out, err)
	}
	if _, err := api.NewClient("http://127.0.0.1:1", "").Send(t.Context(), "GET", "/", nil); err == nil ||
		!strings.Contains(err.Error(), "is it running?") {
		t.Errorf("no node there: %v", err)
	}
}

// TestOpenAPI wants every kind and view described, with every field of its body.
func TestOpenAPI(t *testing.T) {
	h, server := serve(t)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	err := api.NewClient(server.URL, "").Call(t.Context(), "GET", "/api/v1/openapi.json", nil, &doc)
	if err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%q %v", doc.OpenAPI, err)
	}
	for _, r := range h.machine.Rules() {
		op := string(doc.Paths["/api/v1/do/"+r.Kind]["post"])
		for i := range r.Body.NumField() {
			name, _, _ := strings.Cut(r.Body.Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" && !strings.Contains(op, `"`+name+`"`) {
				t.Errorf("%s: the field %s is not described", r.Kind, name)
			}
		}
		if op == "" {
			t.Errorf("%s is not described", r.Kind)
		}
	}
	for _, v := range h.machine.Views() {
		if len(doc.Paths["/api/v1/view/"+v.Name]["get"]) == 0 {
			t.Errorf("%s is not described", v.Name)
		}
	}
}

// TestEvents wants a member to be told what concerns them, and nothing else.
func TestEvents(t *testing.T) {
	h, server := serve(t)
	body, err := api.NewClient(server.URL, "p1").Send(t.Context(), "GET", "/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	h.events <- []machine.Event{
		{Number: 1, Kind: "private", Audience: []string{"p2"}},
		{Number: 2, Kind: "mine", Audience: []string{"p1"}},
		{
			Number: 3, Kind: "all",
			Audience: []string{"circle"},
		},
	}
	var got strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(got.String(), "id: 3") {
		n, err := body.Read(buffer)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		got.Write(buffer[:n])
	}
	if text := got.String(); strings.Contains(text, "private") || !strings.Contains(text, "mine") {
		t.Errorf("told: %s", text)
	}
}
