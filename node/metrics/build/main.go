// Command build writes what Grafana and Prometheus need into deploy, from the table of metrics: the dashboard
// and the alert rules. Run it in the repository's root: go run ./node/metrics/build
package main

import (
	"fmt"
	"os"

	"github.com/carecircle/carecircle/node/metrics"
)

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err) //nolint:errcheck // nowhere left to say it
		os.Exit(1)
	}
}

func build() error {
	dashboard, err := metrics.Dashboard()
	if err != nil {
		return err
	}
	if err := os.WriteFile("deploy/dashboard.json", dashboard, 0o644); err != nil {
		return err
	}
	return os.WriteFile("deploy/alerts.yaml", metrics.Rules(), 0o644)
}
