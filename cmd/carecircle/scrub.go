package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node"
)

const scrubPoll = 200 * time.Millisecond

func scrubCommand() *cobra.Command {
	var conn connection
	var output string
	var wait time.Duration
	c := &cobra.Command{
		Use: "scrub", Short: "Compare a circle's replicas and read their disks", Args: noArgs,
		Long: "Has the circle's replicas compared at one log entry, and each read all of its disk, one\n" +
			"after another. A replica that is wrong stops, and heals from the others at its next start.\n" +
			"Nodes do this by themselves every night. The exit code is 5 unless all is found whole.",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := conn.client()
			if err != nil {
				return err
			}
			var asked, found node.Scrub
			err = client.Call(c.Context(), http.MethodPost, "/api/v1/scrub", []byte("{}"), &asked)
			if err != nil {
				return err
			}
			tick, limit := time.NewTicker(scrubPoll), time.NewTimer(wait)
			defer tick.Stop()
			defer limit.Stop()
			for found.Began < asked.Began {
				select {
				case <-tick.C:
				case <-limit.C:
					return errors.New("the scrub goes on; its result will be in: carecircle status")
				case <-c.Context().Done():
					return c.Context().Err()
				}
				err := client.Call(c.Context(), http.MethodGet, "/api/v1/scrub", nil, &found)
				if err != nil {
					return fmt.Errorf("the scrub began, but its result cannot be read: %w", err)
				}
			}
			if err := showScrub(c.OutOrStdout(), output, found); err != nil {
				return err
			}
			if found.Result != node.ScrubWhole {
				return foundError{1}
			}
			return nil
		},
	}
	conn.flags(c)
	outputFlag(c, &output)
	c.Flags().DurationVar(&wait, "wait", 30*time.Minute, "how long to wait for the result")
	return c
}

// showScrub prints what a scrub found, a line for each replica.
func showScrub(w io.Writer, output string, s node.Scrub) error {
	if output != "table" {
		return show(w, output, s)
	}
	if _, err := fmt.Fprintf(w, "%s at log entry %d\n", s.Result, s.Index); err != nil {
		return err
	}
	rows := [][]string{{"REPLICA", "ROWS", "SUM", "DISK", "SAYS"}}
	for _, r := range s.Replicas {
		rows = append(rows, []string{r.ID, grouped(r.Rows), r.Sum, r.Disk, r.Says})
	}
	if err := writeTable(w, rows); err != nil || s.Says == "" {
		return err
	}
	_, err := fmt.Fprintln(w, s.Says)
	return err
}

// scrubRow says in short what the newest scrub found.
func scrubRow(s *node.Scrub, now time.Time) string {
	if s == nil {
		return "none yet"
	}
	text := s.Result + ", " + span(now.Sub(time.UnixMilli(s.Ended))) + " ago"
	if s.Says != "" {
		text += ": " + s.Says
	}
	return text
}
