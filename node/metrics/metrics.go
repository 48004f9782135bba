// Package metrics says what a node measures of itself. One table names every metric; from it come what
// Prometheus reads, the Grafana dashboard and the alert rules. No label ever holds a person, a name or free
// text: the values of each come from a closed set, or are ids of replicas and circles.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Outcome is what came of a command or a view.
type Outcome string

// The outcomes there are.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // the circle's rules said no
	Failed  Outcome = "failed"  // it is not known, or there was nobody to ask
)

var outcomes = []Outcome{Done, Refused, Failed}

// other stands for what is not in a closed set.
const other = "other"

// Config is what a node's metrics are made from.
type Config struct {
	Kinds   []string // every kind of command there is
	Views   []string // every view there is
	Version string   // the program's
	// Sample looks at the node; it is asked at every scrape, maybe by several at once.
	Sample func() Sample
}

// Metrics counts what a node does. Its methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	routes   *prometheus.CounterVec
	requests *prometheus.HistogramVec

	commands map[string]map[Outcome]prometheus.Counter // by kind
	views    map[string]map[Outcome]prometheus.Counter // by name

	answer, logAppend, flush, snapshotWrite prometheus.Observer
	logEntries, flushRows, signInFailures   prometheus.Counter
}

// New makes a node's metrics, with a registry of their own: several nodes may live in one process.
func New(cfg Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counters, histograms := map[string]*prometheus.CounterVec{}, map[string]*prometheus.HistogramVec{}
	sampled := sampler{sample: cfg.Sample}
	for _, row := range table {
		switch {
		case row.kind == foreign:
		case row.read != nil:
			sampled.rows = append(sampled.rows, sampledRow{
				metric: row, desc: prometheus.NewDesc(row.name, row.help, row.labels, nil),
			})
		case row.kind == counter:
			v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: row.name, Help: row.help}, row.labels)
			counters[row.name] = v
			m.registry.MustRegister(v)
		case row.kind == histogram:
			v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name: row.name, Help: row.help, Buckets: row.buckets,
			}, row.labels)
			histograms[row.name] = v
			m.registry.MustRegister(v)
		}
	}
	m.routes, m.requests = counters[httpRequests], histograms[httpSeconds]
	m.commands = closed(counters[commandsTotal], cfg.Kinds)
	m.views = closed(counters[viewsTotal], cfg.Views)
	m.answer = histograms[answerSeconds].With(nil)
	m.logAppend, m.logEntries = histograms[appendSeconds].With(nil), counters[appendedEntries].With(nil)
	m.flush, m.flushRows = histograms[flushSeconds].With(nil), counters[flushedRows].With(nil)
	m.snapshotWrite = histograms[snapshotSeconds].With(nil)
	m.signInFailures = counters[signInFailures].With(nil)
	sampled.version, sampled.goVersion = cfg.Version, runtime.Version()
	m.registry.MustRegister(sampled, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// closed readies a counter for every name and outcome: from the start they are there, at zero.
func closed(v *prometheus.CounterVec, names []string) map[string]map[Outcome]prometheus.Counter {
	all := map[string]map[Outcome]prometheus.Counter{}
	for _, name := range append(slices.Clone(names), other) {
		all[name] = map[Outcome]prometheus.Counter{}
		for _, o := range outcomes {
			all[name][o] = v.WithLabelValues(name, string(o))
		}
	}
	return all
}

func count(all map[string]map[Outcome]prometheus.Counter, name string, o Outcome) {
	if _, known := all[name]; !known {
		name = other
	}
	all[name][o].Inc()
}

// Command counts a command and how long its answer took.
func (m *Metrics) Command(kind string, o Outcome, took time.Duration) {
	count(m.commands, kind, o)
	m.answer.Observe(took.Seconds())
}

// View counts a view that was read.
func (m *Metrics) View(name string, o Outcome) { count(m.views, name, o) }

// LogAppend counts log entries written and synced at once.
func (m *Metrics) LogAppend(entries int, took time.Duration) {
	m.logAppend.Observe(took.Seconds())
	m.logEntries.Add(float64(entries))
}

// Flush counts changed rows of the state written to disk at once.
func (m *Metrics) Flush(rows int, took time.Duration) {
	m.flush.Observe(took.Seconds())
	m.flushRows.Add(float64(rows))
}

// SnapshotWritten counts one snapshot written.
func (m *Metrics) SnapshotWritten(took time.Duration) { m.snapshotWrite.Observe(took.Seconds()) }

// SignInFailed counts a sign-in that did not succeed.
func (m *Metrics) SignInFailed() { m.signInFailures.Inc() }

// Request counts an HTTP request by the pattern of its route, never its path: a path may name a person. An
// empty pattern is that of no route.
func (m *Metrics) Request(pattern string, status int, took time.Duration) {
	if pattern == "" {
		pattern = "none"
	}
	class := other
	if status >= 100 && status < 600 {
		class = strconv.Itoa(status/100) + "xx"
	}
	m.routes.WithLabelValues(pattern, class).Inc()
	m.requests.WithLabelValues(pattern).Observe(took.Seconds())
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
}
