package metrics

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const someone = "Farida Bridge"

var kinds, viewNames = []string{"coin.give", "member.invite"}, []string{"coin.mine"}

// labelSets says for every label which values it may have. A row of the table with another label is an error.
var labelSets = map[string]*regexp.Regexp{
	"version": regexp.MustCompile(`^v1$`),
	"go":      regexp.MustCompile(`^go1\.`),
	"kind":    regexp.MustCompile(`^(coin\.give|member\.invite|other)$`),
	"view":    regexp.MustCompile(`^(coin\.mine|other)$`),
	"outcome": regexp.MustCompile(`^(done|refused|failed)$`),
	"state":   regexp.MustCompile(`^(leader|follower|candidate|shutdown)$`),
	"result":  regexp.MustCompile(`^(whole|incomplete|damaged|unsure)$`),
	"circle":  regexp.MustCompile(`^[a-z0-9]{12}$`),
	"replica": regexp.MustCompile(`^(one|r[0-9]+)$`),
	"route":   regexp.MustCompile(`^(GET /coins/\{person\}|none)$`),
	"status":  regexp.MustCompile(`^([1-5]xx|other)$`),
}

// busy returns metrics of a node where everything has happened once, odd things included.
func busy() *Metrics {
	m := New(Config{Kinds: kinds, Views: viewNames, Version: "v1", Sample: func() Sample {
		return Sample{
			Ready: true, Start: time.Second,
			Replica: Replica{
				ID: "one", State: "leader", LeaderKnown: true, Term: 2, Commit: 12, Applied: 10, Position: 9,
			},
			Replicas: []Standing{
				{ID: "one", Alive: true, Voting: true, Heard: true, Lag: 2},
				{ID: "r2", Alive: true, Voting: true, Heard: true, Lag: 7},
				{ID: "r3", Voting: true},
				{ID: "r4", Alive: true, Heard: true},
			},
			Links:    []Link{{Circle: "abcdefghijklmnopqrstuvwxyz234567", Waiting: 3, Oldest: time.Minute}},
			Disk:     Disk{Free: 1 << 30, Size: 2 << 30},
			Snapshot: Snapshot{Index: 5, At: time.UnixMilli(1500), Bytes: 7},
			Scrub:    Scrub{At: time.UnixMilli(2500), Result: "whole"},
			Backup: &Backup{
				Every: time.Hour, At: time.UnixMilli(2500), Drill: time.UnixMilli(3500), Failed: true,
			},
		}
	}})
	m.Command("coin.give", Done, time.Millisecond)
	m.Command(someone, Refused, time.Millisecond)
	m.View("coin.mine", Done)
	m.View(someone, Failed)
	m.LogAppend(3, time.Millisecond)
	m.Flush(4, time.Millisecond)
	m.SnapshotWritten(time.Second)
	m.SignInFailed()
	m.Request("GET /coins/{person}", 200, time.Millisecond)
	m.Request("", 404, time.Millisecond)
	m.Request("", 999, time.Millisecond)
	return m
}

func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// TestRegisteredIsTheTable holds what Prometheus is given against the table: names, types, help, labels.
func TestRegisteredIsTheTable(t *testing.T) {
	got := gather(t, busy())
	types := map[kind]dto.MetricType{
		counter: dto.MetricType_COUNTER, gauge: dto.MetricType_GAUGE, histogram: dto.MetricType_HISTOGRAM,
	}
	for _, row := range table {
		f, ok := got[row.name]
		if row.kind == foreign {
			if !ok && row.name != "up" { // which Prometheus makes itself
				t.Errorf("%s is in the table; nobody measures it", row.name)
			}
			continue
		}
		if !ok {
			t.Errorf("%s is in the table and not registered", row.name)
			continue
		}
		if f.GetType() != types[row.kind] || f.GetHelp() != row.help {
			t.Errorf("%s is registered as %v %q", row.name, f.GetType(), f.GetHelp())
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			slices.Sort(labels)
			if !slices.Equal(labels, slices.Sorted(slices.Values(row.labels))) {
				t.Errorf("%s has labels %v, the table says %v", row.name, labels, row.labels)
			}
		}
		delete(got, row.name)
	}
	for name := range got {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is registered and not in the table", name)
		}
	}
}

// TestNoLabelHoldsPeople wants every label's values from its closed set, whatever the node is told to count.
func TestNoLabelHoldsPeople(t *testing.T) {
	for name, f := range gather(t, busy()) {
		if !strings.HasPrefix(name, "carecircle_") {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				set, ok := labelSets[l.GetName()]
				if !ok {
					t.Fatalf("%s has the label %q: say in labelSets which closed set its values come from",
						name, l.GetName())
				}
				if !set.MatchString(l.GetValue()) {
					t.Errorf("%s{%s=%q} is outside of its set %s", name, l.GetName(), l.GetValue(), set)
				}
			}
		}
	}
	answer := httptest.NewRecorder()
	busy().Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	text := answer.Body.String()
	if strings.Contains(text, someone) || !strings.Contains(text, "carecircle_ready 1") {
		t.Errorf("/metrics answers %s", text)
	}
}

// TestValues looks at what a sample becomes.
func TestValues(t *testing.T) {
	got := gather(t, busy())
	for name, want := range map[string]float64{
		"carecircle_ready": 1, "carecircle_start_seconds": 1, "carecircle_replica_lag_entries": 2,
		"carecircle_replica_term": 2, "carecircle_replicas_voting": 3, "carecircle_replicas_voting_alive": 2,
		"carecircle_snapshot_timestamp_seconds": 1.5,
		"carecircle_scrub_timestamp_seconds":    2.5, "carecircle_scrub_result": 0,
		"carecircle_link_waiting_letters": 3, "carecircle_link_oldest_letter_age_seconds": 60,
		"carecircle_backup_timestamp_seconds": 2.5, "carecircle_backup_interval_seconds": 3600,
		"carecircle_backup_drill_timestamp_seconds": 3.5, "carecircle_backup_failed": 1,
		"carecircle_link_connected": 0, "carecircle_disk_free_bytes": 1 << 30,
	} {
		if v := got[name].GetMetric()[0].GetGauge().GetValue(); v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	standing := map[string]float64{}
	for _, name := range []string{"lag_entries", "alive"} {
		for _, m := range got["carecircle_replica_"+name].GetMetric() {
			standing[name+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	if want := map[string]float64{
		"lag_entries one": 2, "lag_entries r2": 7, "lag_entries r4": 0,
		"alive one": 1, "alive r2": 1, "alive r3": 0, "alive r4": 1,
	}; !maps.Equal(standing, want) {
		t.Errorf("the replicas stand as %v, want %v", standing, want)
	}
	if v := got[flushedRows].GetMetric()[0].GetCounter().GetValue(); v != 4 {
		t.Errorf("%s is %v", flushedRows, v)
	}
	if n := len(got[commandsTotal].GetMetric()); n != 9 {
		t.Errorf("%d commands are counted, want three kinds with three outcomes each, from the start", n)
	}
}

// TestNames holds the table to Prometheus' customs.
func TestNames(t *testing.T) {
	form := regexp.MustCompile(`^carecircle_[a-z_]+$`)
	for _, row := range table {
		switch {
		case row.kind == foreign:
			continue
		case !form.MatchString(row.name), row.help == "":
			t.Errorf("%q, %q: not a name and a help", row.name, row.help)
		case (row.kind == counter) != strings.HasSuffix(row.name, "_total"):
			t.Errorf("%s: counters, and they alone, end in _total", row.name)
		case row.kind == histogram && !strings.HasSuffix(row.name, "_seconds"):
			t.Errorf("%s: name the unit last", row.name)
		}
	}
}

var nameIn = regexp.MustCompile(`\b(?:(?:carecircle|process|go)_\w+|up\b)`)

// TestExpressionsNameMetrics reads the dashboard and the rules as files: everything they ask for exists.
func TestExpressionsNameMetrics(t *testing.T) {
	known := gather(t, busy())
	known["up"] = nil
	check := func(where, expr string) {
		t.Helper()
		names := nameIn.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing of ours: %s", where, expr)
		}
		for _, name := range names {
			base := strings.TrimSuffix(name, "_bucket")
			f, ok := known[base]
			if !ok || (base != name && f.GetType() != dto.MetricType_HISTOGRAM) {
				t.Errorf("%s names %s, which does not exist", where, name)
			}
		}
	}
	var d grafana
	if err := json.Unmarshal(read(t, "dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, p := range d.Panels {
		if (p.Type == "row") == (len(p.Targets) > 0) || places[fmt.Sprint(p.GridPos)] {
			t.Errorf("panel %q is empty, or lies on another", p.Title)
		}
		places[fmt.Sprint(p.GridPos)] = true
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
	for _, row := range table {
		for _, a := range row.alerts {
			check("alert "+a.name, a.expr)
			if a.severity != critical && a.severity != warning {
				t.Errorf("alert %s has severity %q", a.name, a.severity)
			}
		}
	}
}

// TestFilesAreAsMade compares the files in deploy with what the table makes now.
func TestFilesAreAsMade(t *testing.T) {
	dashboard, err := Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"dashboard.json": dashboard, "alerts.yaml": Rules()} {
		if string(read(t, name)) != string(want) {
			t.Errorf("deploy/%s differs from the table; make it again: go run ./node/metrics/build", name)
		}
	}
}

// TestRulesWork has Prometheus' own tool read the rules and run their tests.
func TestRulesWork(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed; \"make deps\" installs what the tests need")
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"},
	} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = deployDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEveryAlertIsExplained wants what to do about each alert, and nothing about one there is not.
func TestEveryAlertIsExplained(t *testing.T) {
	told := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (Carecircle\w+)$`).FindAllStringSubmatch(
		string(read(t, "README.md")), -1) {
		told[m[1]] = true
	}
	for _, row := range table {
		for _, a := range row.alerts {
			if !told[a.name] {
				t.Errorf("deploy/README.md does not say what to do about %s", a.name)
			}
			delete(told, a.name)
		}
	}
	for name := range maps.Keys(told) {
		t.Errorf("deploy/README.md explains %s, which there is not", name)
	}
}

var deployDir = filepath.Join("..", "..", "deploy")

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
