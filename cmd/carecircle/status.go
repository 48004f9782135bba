package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

func statusCommand() *cobra.Command {
	var n connection
	var output string
	c := &cobra.Command{
		Use: "status", Short: "Show how a node does", Args: noArgs,
		Long: "Show how a node does: whether it serves people, where its replica stands, what it uses,\n" +
			"and how letters to other circles go. The exit code is 1 when the node is not ready.",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := client.Call(c.Context(), "GET", "/api/v1/status", nil, &raw); err != nil {
				return err
			}
			var s node.Status
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("read the status: %w", err)
			}
			if err := showStatus(c.OutOrStdout(), output, raw, s, time.Now()); err != nil {
				return err
			}
			for _, check := range s.Checks {
				if !check.OK {
					return fmt.Errorf("the node is not ready: %s", check.Says)
				}
			}
			return nil
		},
	}
	n.flags(c)
	outputFlag(c, &output)
	return c
}

// showStatus prints a node's status: in plain words for people, whole as JSON, flat as CSV.
func showStatus(w io.Writer, output string, raw json.RawMessage, s node.Status, now time.Time) error {
	switch output {
	case "json":
		return show(w, output, raw)
	case "csv":
		return writeCSV(w, append([][]string{{"field", "value"}}, flat("", raw)...))
	}
	if err := writeTable(w, statusRows(s, now)); err != nil {
		return err
	}
	if len(s.Replicas) > 0 {
		if err := writeTable(w, append([][]string{{""}}, standingRows(s.Replicas)...)); err != nil {
			return err
		}
	}
	if len(s.Links) == 0 {
		return nil
	}
	rows := [][]string{{""}, {"CIRCLE", "CONNECTED", "LETTERS WAITING", "LAST ERROR"}}
	for _, l := range s.Links {
		connected := "no"
		if l.Connected {
			connected = "yes"
		}
		rows = append(rows, []string{l.Circle, connected, grouped(l.Tail - min(l.Held, l.Tail)), l.LastError})
	}
	return writeTable(w, rows)
}

func keysRow(s node.Status) string {
	if s.KeysSealed {
		return "sealed"
	}
	return "in plain: carecircle keys seal"
}

// standingRows says where each of a circle's replicas stands.
func standingRows(all []node.Standing) [][]string {
	rows := [][]string{
		{"REPLICA", "STATUS", "ANSWERS", "STATE", "APPLIED", "BEHIND", "RULES UP TO", "VERSION"},
	}
	for _, r := range all {
		answers, applied, behind, rules := "no", "unknown", "unknown", "unknown"
		if r.Alive {
			answers = "yes"
		}
		if r.Applied > 0 {
			applied, behind, rules = grouped(r.Applied), grouped(r.LagEntries), fmt.Sprint(r.Rules)
		}
		rows = append(rows, []string{
			r.ID, r.Status, answers, orElse(strings.ToLower(r.State), "unknown"), applied, behind, rules,
			orElse(r.Version, "unknown"),
		})
	}
	return rows
}

func orElse(value, other string) string {
	if value != "" {
		return value
	}
	return other
}

func statusRows(s node.Status, now time.Time) [][]string {
	r := s.Replica
	ready := "yes"
	for _, check := range s.Checks {
		if !check.OK {
			ready = "no: " + check.Says
			break
		}
	}
	snapshot := "none yet"
	if r.SnapshotIndex > 0 {
		snapshot = "entry " + grouped(r.SnapshotIndex)
		if r.SnapshotAt > 0 {
			snapshot += ", " + span(now.Sub(time.UnixMilli(r.SnapshotAt))) + " ago"
		}
	}
	connected := 0
	for _, l := range s.Links {
		if l.Connected {
			connected++
		}
	}
	return [][]string{
		{"circle", s.Name + " (" + s.Circle + ")"},
		{"ready", ready},
		{"replica", fmt.Sprintf("%s: %s, term %d", r.ID, role(r), r.Term)},
		{"log", fmt.Sprintf("%s entries committed, %s behind", grouped(r.Commit), grouped(r.LagEntries))},
		{"journal", grouped(r.Position) + " commands"},
		{"rules", fmt.Sprintf("version %d in force, this program knows up to %d", r.Rules, r.NewestRules)},
		{"snapshot", snapshot},
		{"scrub", scrubRow(s.Scrub, now)},
		{"backup", backupWords(s.Backup, now)},
		{"keys", keysRow(s)},
		{"links", fmt.Sprintf("%d of %d connected", connected, len(s.Links))},
		{"memory", bytesOf(uint64(s.MemoryBytes))},
		{"disk", diskOf(s)},
		{"up", fmt.Sprintf("%s, ready after %.1f s", span(time.Duration(s.UpSeconds)*time.Second),
			float64(s.ReadyMillis)/1000)},
		{"version", s.Version},
	}
}

func diskOf(s node.Status) string {
	text := bytesOf(s.DiskFree) + " free of " + bytesOf(s.DiskSize)
	if s.DiskMargin > 0 {
		text += ", " + bytesOf(s.DiskMargin) + " must stay free"
	}
	if s.DiskBallast > 0 {
		text += ", " + bytesOf(s.DiskBallast) + " in the ballast"
	}
	return text
}

// backupWords says how old the newest backup and the newest drill are, and what went wrong last.
func backupWords(s *backup.Status, now time.Time) string {
	if s == nil {
		return "this machine makes none"
	}
	ago := func(text string) string {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return text
		}
		return span(now.Sub(at)) + " ago"
	}
	words := "none yet"
	if s.LastBackup != nil {
		words = ago(s.LastBackup.MadeAt)
	}
	if s.LastDrill != nil {
		result := "failed"
		if s.LastDrill.Passed {
			result = "passed"
		}
		words += ", drill " + result + " " + ago(s.LastDrill.At)
	}
	if s.Failed != "" {
		words += "; WRONG: " + s.Failed
	}
	return words
}

// flat makes a row of every value in a JSON document, named by its path.
func flat(path string, raw json.RawMessage) [][]string {
	under := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	var rows [][]string
	if names, fields, err := object(raw); err == nil {
		for _, name := range names {
			rows = append(rows, flat(under(name), fields[name])...)
		}
		return rows
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) == nil {
		for i, item := range items {
			rows = append(rows, flat(under(strconv.Itoa(i+1)), item)...)
		}
		return rows
	}
	return [][]string{{path, text(raw)}}
}

// grouped writes a number with a comma between thousands.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// bytesOf writes a size for people.
func bytesOf(n uint64) string {
	switch {
	case n == 0:
		return "unknown"
	case n < 10e9:
		return grouped((n+5e5)/1e6) + " MB"
	}
	return grouped((n+5e8)/1e9) + " GB"
}

// span writes a time for people, in its two largest units.
func span(d time.Duration) string {
	s := max(0, int(d.Seconds()))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s/3600%24)
}
