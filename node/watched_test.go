package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

// get asks an address, with a token where one is given.
func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

func operatorOf(t *testing.T, dir string) string {
	t.Helper()
	token, err := node.OperatorToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// value reads one metric, given with its labels, out of what Prometheus gets.
func value(t *testing.T, text, metric string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, metric+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("there is no %s in\n%s", metric, text)
	return 0
}

// TestReady says that a node is ready and, once it is told to stop, which check fails, while it still serves.
func TestReady(t *testing.T) {
	dir := makeNode(t)
	n := start(t, dir)
	base := "http://" + n.Addr()
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, base+path, ""); status != http.StatusOK {
			t.Errorf("%s answers %d %s", path, status, body)
		}
	}
	n.Drain()
	status, body := get(t, base+"/readyz", "")
	var answer struct {
		Ready  bool
		Checks []node.Check
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	var failing []string
	for _, c := range answer.Checks {
		if !c.OK {
			failing = append(failing, c.Name+": "+c.Says)
		}
	}
	if status != http.StatusServiceUnavailable || answer.Ready || len(answer.Checks) != 5 ||
		strings.Join(failing, ";") != "serving: the node is stopping" {
		t.Errorf("while it stops /readyz answers %d %s", status, body)
	}
	if status, _ := get(t, base+"/healthz", ""); status != http.StatusOK {
		t.Errorf("while it drains, the node answers %d", status)
	}
	if n.Status().Ready {
		t.Error("its status says that it is ready")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Alive(); err == nil {
		t.Error("closed, it passes for alive")
	}
}

// TestMetrics counts what the node did. They are for the operator, and for whoever reaches their own address.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	c := config()
	c.Metrics = "127.0.0.1:0"
	if err := node.Init(dir, c); err != nil {
		t.Fatal(err)
	}
	n := start(t, dir)
	defer n.Close()
	base, token := "http://"+n.Addr(), operatorOf(t, dir)
	if status, body := get(t, base+"/metrics", ""); status != http.StatusForbidden ||
		strings.Contains(body, "carecircle_") {
		t.Errorf("a stranger gets %d %s", status, body)
	}
	get(t, base+"/api/v1/view/coin.overview", token)
	get(t, base+"/coins/journey/Alice?q=Alice", "wrong token")
	for _, path := range []string{"/api/v1/enter", "/signin/passkey/finish"} {
		res, err := http.Post(base+path, "application/json", strings.NewReader(`{"link":"wrong"}`))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	status, text := get(t, base+"/metrics", token)
	if status != http.StatusOK {
		t.Fatalf("the operator gets %d", status)
	}
	build := `carecircle_build_info{go="` + runtime.Version() + `",version="test"}`
	for metric, want := range map[string]float64{
		build: 1, "carecircle_ready": 1, `carecircle_replica_state{state="leader"}`: 1,
		`carecircle_replica_lag_entries{replica="one"}`:               0,
		"carecircle_journal_position":                                 6,
		`carecircle_views_total{outcome="done",view="coin.overview"}`: 1,
		"carecircle_sign_in_failures_total":                           3,
	} {
		if v := value(t, text, metric); v != want {
			t.Errorf("%s is %v, want %v", metric, v, want)
		}
	}
	for _, metric := range []string{
		"carecircle_log_append_seconds_count", "carecircle_log_appended_entries_total",
		"carecircle_disk_free_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
		`carecircle_http_requests_total{route="GET /metrics",status="4xx"}`,
	} {
		if value(t, text, metric) <= 0 {
			t.Errorf("%s is zero", metric)
		}
	}
	if strings.Contains(text, "Alice") || strings.Contains(text, "Farida") {
		t.Errorf("a name is in\n%s", text)
	}
	if status, text := get(t, "http://"+n.MetricsAddr()+"/metrics", ""); status != http.StatusOK {
		t.Errorf("the metrics' own address answers %d %s", status, text)
	}
	if status, _ := get(t, "http://"+n.MetricsAddr()+"/api/v1/status", token); status != http.StatusNotFound {
		t.Errorf("the metrics' own address serves more: %d", status)
	}
}

// TestLettersThatWait counts a letter to a circle that is off, and how long it has waited.
func TestLettersThatWait(t *testing.T) {
	awayDir, dir := makeNode(t), makeNode(t)
	away, n := start(t, awayDir), start(t, dir)
	defer n.Close()
	client := api.NewClient("http://"+n.Addr(), operatorOf(t, dir))
	for other, to := range map[*node.Node]*api.Client{
		away: client, n: api.NewClient("http://"+away.Addr(), operatorOf(t, awayDir)),
	} {
		sealed, err := charter.ParseText(other.CardText())
		if err != nil {
			t.Fatal(err)
		}
		_, err = to.Do(t.Context(), "", "", "exchange.meet", exchange.Meet{Card: sealed}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	id := string(away.Keys.CircleID())
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C { // until it was heard
		_, text := get(t, "http://"+n.Addr()+"/metrics", operatorOf(t, dir))
		if strings.Contains(text, `carecircle_link_connected{circle="`+id[:12]+"\"} 1\n") {
			break
		}
	}
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	offer := exchange.Ally{Circle: id, LimitMinutes: 600, ReviewOn: "2030-01-01"}
	if _, err := client.Do(t.Context(), "", "", "exchange.ally", offer, nil); err != nil {
		t.Fatal(err)
	}
	label := `{circle="` + id[:12] + `"}`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("no letter waits, or it never gets older")
		}
		_, text := get(t, "http://"+n.Addr()+"/metrics", operatorOf(t, dir))
		waits := strings.Contains(text, "carecircle_link_waiting_letters"+label+" 1\n")
		if !waits || value(t, text, "carecircle_link_connected"+label) != 0 { // not noticed yet
			continue
		}
		age := value(t, text, "carecircle_link_oldest_letter_age_seconds"+label)
		if age > 3600 ||
			value(t, text, `carecircle_commands_total{kind="exchange.ally",outcome="done"}`) != 1 {
			t.Fatalf("the letter is %v s old:\n%s", age, text)
		}
		if age > 0 {
			return
		}
	}
}

// logged is a log that many may write to.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAccessLog keeps one line of each request, and neither path nor query, person nor token in any.
func TestAccessLog(t *testing.T) {
	dir := makeNode(t)
	var log logged
	n, err := node.Open(t.Context(), dir, node.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	base, token := "http://"+n.Addr(), operatorOf(t, dir)
	get(t, base+"/enter/SECRETLINK?for=WHOEVER", "")
	get(t, base+"/NOWHERE?q=WHATEVER", "")
	get(t, base+"/api/v1/view/coin.overview?x=WHATEVER", token)
	get(t, base+"/healthz", "WRONGTOKEN")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, secret := range []string{
		"SECRETLINK", "WHOEVER", "NOWHERE", "WHATEVER", "WRONGTOKEN", token, "Farida",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %s:\n%s", secret, text)
		}
	}
	var routes []string
	for line := range strings.Lines(text) {
		var r struct {
			Msg, Route string
			Status     int
			Ms         *float64
			Bytes      int64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r.Msg == "request" {
			routes = append(routes, r.Route+" "+strconv.Itoa(r.Status))
			if r.Ms == nil || r.Bytes == 0 {
				t.Errorf("the line lacks time or size: %s", line)
			}
		}
	}
	want := "GET /enter/{secret} 200, / 404, GET /api/v1/view/{name} 422, GET /healthz 401"
	if got := strings.Join(routes, ", "); got != want {
		t.Errorf("logged %s, want %s\n%s", got, want, text)
	}
}

// TestStatus shows where a node stands.
func TestStatus(t *testing.T) {
	dir := makeNode(t)
	n := start(t, dir)
	defer n.Close()
	s := n.Status()
	switch {
	case !s.Ready, len(s.Checks) != 5, s.Replica.State != "Leader", s.Replica.Leader != "one":
		t.Errorf("status %+v", s)
	case s.Replica.Position != 5, s.Replica.Applied == 0, s.Replica.LagEntries != 0, s.Replica.Term == 0:
		t.Errorf("replica %+v", s.Replica)
	case s.MemoryBytes < 1<<20, s.DiskFree == 0, s.DiskSize < s.DiskFree, s.ReadyMillis <= 0:
		t.Errorf("status %+v", s)
	}
}
