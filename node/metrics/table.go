package metrics

// kind is what a metric's value does.
type kind int

const (
	counter   kind = iota // only grows
	gauge                 // goes up and down
	histogram             // counts by size
	foreign               // measured by others, shown or watched here
)

// metric is one row of the table.
type metric struct {
	name    string // carecircle_..., base units, the unit last; a counter ends in _total
	kind    kind
	help    string
	labels  []string  // see labelSets in the test: each has a closed set of values, or holds ids
	buckets []float64 // of a histogram
	read    reading   // nil: it is counted as things happen
	panel   panel
	alerts  []alert
}

// reading puts a metric's values, one for each combination of its labels, out of a sample.
type reading func(s *looked, put func(value float64, labels ...string))

// panel is how the dashboard shows a metric; without a title it does not.
type panel struct {
	row, title string
	unit       string // Grafana's word
	expr       string // empty: the usual one for the metric's kind
}

// alert is a condition that somebody must look at. What to do is in deploy/README.md, under its name.
type alert struct {
	name     string
	expr     string
	lasts    string // how long it must hold, as Prometheus writes it
	severity string // critical: now; warning: today
	summary  string
}

// Metrics that are counted as things happen.
const (
	commandsTotal   = "carecircle_commands_total"
	answerSeconds   = "carecircle_command_answer_seconds"
	viewsTotal      = "carecircle_views_total"
	appendSeconds   = "carecircle_log_append_seconds"
	appendedEntries = "carecircle_log_appended_entries_total"
	flushSeconds    = "carecircle_state_flush_seconds"
	flushedRows     = "carecircle_state_flushed_rows_total"
	snapshotSeconds = "carecircle_snapshot_write_seconds"
	httpRequests    = "carecircle_http_requests_total"
	httpSeconds     = "carecircle_http_request_seconds"
	signInFailures  = "carecircle_sign_in_failures_total"
)

const (
	critical = "critical"
	warning  = "warning"
)

// Buckets in seconds: of what waits for a disk or a network, and of what takes its time.
var (
	quick = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	slow  = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300}
)

// The dashboard's rows, in order.
const (
	rowHealth   = "Health"
	rowCommands = "Commands"
	rowReplica  = "Replica"
	rowStorage  = "Storage"
	rowBackups  = "Backups"
	rowLetters  = "Letters to other circles"
	rowPages    = "Pages and API"
)

// table is every metric, in the dashboard's order.
var table = concat(health, commands, replicas, storage, backups, letters, pages)

func concat(parts ...[]metric) []metric {
	var all []metric
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

var health = []metric{
	{
		name: "up", kind: foreign, help: "Whether Prometheus reaches the node.",
		panel: panel{row: rowHealth, title: "Reached", expr: `up{job="carecircle",instance=~"$instance"}`},
		alerts: []alert{{
			"CarecircleDown", `up{job="carecircle"} == 0`, "2m", critical, "The node does not answer",
		}},
	},
	{
		name: "carecircle_build_info", kind: gauge, labels: []string{"version", "go"},
		help:  "Always 1; the labels say what runs.",
		read:  func(s *looked, put func(float64, ...string)) { put(1, s.version, s.goVersion) },
		panel: panel{row: rowHealth, title: "Version"},
	},
	{
		name: "carecircle_ready", kind: gauge, help: "1 when the node can serve people, as /readyz says.",
		read:  func(s *looked, put func(float64, ...string)) { put(yes(s.Ready)) },
		panel: panel{row: rowHealth, title: "Ready"},
		alerts: []alert{{
			"CarecircleNotReady", `carecircle_ready == 0`, "2m", critical,
			"The node runs but cannot serve people",
		}},
	},
	{
		name: "carecircle_start_seconds", kind: gauge, help: "How long the last start took until ready.",
		read:  func(s *looked, put func(float64, ...string)) { put(s.Start.Seconds()) },
		panel: panel{row: rowHealth, title: "Last start took", unit: "s"},
	},
	{
		name: "process_start_time_seconds", kind: foreign, help: "When the process started.",
		panel: panel{
			row: rowHealth, title: "Up for", unit: "s",
			expr: `time() - process_start_time_seconds{job="carecircle",instance=~"$instance"}`,
		},
		alerts: []alert{{
			"CarecircleRestarts", `changes(process_start_time_seconds{job="carecircle"}[30m]) > 3`, "0m",
			warning, "The node keeps starting again",
		}},
	},
	{
		name: "process_resident_memory_bytes", kind: foreign, help: "Memory the process holds.",
		panel: panel{row: rowHealth, title: "Memory", unit: "bytes"},
		alerts: []alert{{
			"CarecircleMemoryHigh", `process_resident_memory_bytes{job="carecircle"} > 400e6`, "15m",
			warning, "The node holds more memory than it should need",
		}},
	},
	{
		name: "process_cpu_seconds_total", kind: foreign, help: "Processor time used.",
		panel: panel{
			row: rowHealth, title: "Processors in use",
			expr: `rate(process_cpu_seconds_total{job="carecircle",instance=~"$instance"}[$__rate_interval])`,
		},
	},
	{
		name: "go_goroutines", kind: foreign, help: "Goroutines there are.",
		panel: panel{row: rowHealth, title: "Goroutines"},
	},
	{
		name: "process_open_fds", kind: foreign, help: "Files and sockets open.",
		panel: panel{row: rowHealth, title: "Open files"},
	},
}

var commands = []metric{
	{
		name: commandsTotal, kind: counter, labels: []string{"kind", "outcome"},
		help: "Commands answered, by kind and by what came of them: done, refused by the rules, or failed.",
		panel: panel{
			row: rowCommands, title: "Commands a second", unit: "ops",
			expr: `sum by (outcome) ` +
				`(rate(carecircle_commands_total{instance=~"$instance"}[$__rate_interval]))`,
		},
		alerts: []alert{{
			"CarecircleCommandsFail",
			`sum by (instance) (rate(carecircle_commands_total{outcome="failed"}[5m])) > 0`, "5m", critical,
			"Commands get no answer",
		}},
	},
	{
		name: answerSeconds, kind: histogram, buckets: quick,
		help:  "Time from a command's arrival until its answer, which is on disk by then.",
		panel: panel{row: rowCommands, title: "Time to an answer", unit: "s"},
		alerts: []alert{{
			"CarecircleAnswersSlow", `histogram_quantile(0.99, sum by (instance, le) ` +
				`(rate(carecircle_command_answer_seconds_bucket[5m]))) > 1`, "10m", warning,
			"One command in a hundred takes over a second",
		}},
	},
	{
		name: viewsTotal, kind: counter, labels: []string{"view", "outcome"}, help: "Views read.",
		panel: panel{
			row: rowCommands, title: "Views read a second", unit: "ops",
			expr: `sum by (outcome) (rate(carecircle_views_total{instance=~"$instance"}[$__rate_interval]))`,
		},
	},
}
