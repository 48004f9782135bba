package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/federation/clearing"
)

// lemonSource is the same problem for LEMON, to compare with.
//
//go:embed lemon/netting.cc
var lemonSource []byte

const clearingRuns = 3 // the middle one counts

// roundSize is how large a round is.
type roundSize struct{ Circles, Obligations int }

// curve is what is measured when no size is given.
var curve = []roundSize{{100, 1_000}, {1_000, 50_000}, {10_000, 1_000_000}, {100_000, 1_000_000}}

// clearingFigures is what one size took.
type clearingFigures struct {
	Circles     int     `json:"circles"`
	Obligations int     `json:"obligations"` // pairs of circles; fewer than drawn, where pairs came twice
	SetOff      int64   `json:"setOffMinutes"`
	Proven      bool    `json:"proven"` // by the checker
	Solve       float64 `json:"solveMillis"`
	Check       float64 `json:"checkMillis"`
	Lemon       float64 `json:"lemonMillis,omitempty"` // LEMON's cost scaling, where it is installed
	Ratio       float64 `json:"ratio,omitempty"`       // of ours to LEMON's
}

func benchClearingCommand() *cobra.Command {
	var size roundSize
	var output string
	c := &cobra.Command{
		Use: "clearing", Short: "Solve rounds of clearing and time it", Args: noArgs,
		Long: "Draws rounds, solves and checks them; without a size, a few sizes in turn. Times are from\n" +
			"the list of obligations to the proposal, the middle of three runs. Where LEMON (Debian:\n" +
			"liblemon-dev) and g++ are installed, the same rounds are solved by its cost scaling as well,\n" +
			"from the list of numbered obligations to the minutes of each.",
		Example: "  carecircle bench clearing --circles 1000 --obligations 50000 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if size.Circles < 0 || size.Obligations < 0 || size.Circles == 1 ||
				(size.Circles == 0) != (size.Obligations == 0) {
				return usageError{errors.New("give two circles or more, and at least one obligation")}
			}
			if size.Circles > clearing.MaxCircles || size.Obligations > clearing.MaxObligations {
				return usageError{fmt.Errorf("at most %d circles and %d obligations", clearing.MaxCircles,
					clearing.MaxObligations)}
			}
			sizes := curve
			if size.Circles != 0 {
				sizes = []roundSize{size}
			}
			all, err := measureClearing(c.Context(), sizes, c.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			if len(all) == 1 {
				return show(c.OutOrStdout(), output, all[0])
			}
			return show(c.OutOrStdout(), output, all)
		},
	}
	c.Flags().IntVar(&size.Circles, "circles", 0, "circles of the round")
	c.Flags().IntVar(&size.Obligations, "obligations", 0, "obligations between them")
	outputFlag(c, &output)
	return c
}

func measureClearing(ctx context.Context, sizes []roundSize, log io.Writer) (_ []clearingFigures, err error) {
	dir, err := os.MkdirTemp("", "carecircle-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lemon, err := buildLemon(ctx, dir)
	if err != nil {
		if _, err := fmt.Fprintln(log, "without LEMON:", err); err != nil {
			return nil, err
		}
	}
	var all []clearingFigures
	for _, size := range sizes {
		f, err := size.measure(ctx, lemon)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (s roundSize) measure(ctx context.Context, lemon string) (clearingFigures, error) {
	drawn := clearing.Draw(1, s.Circles, s.Obligations)
	var p clearing.Proposal
	var times []float64
	for range clearingRuns {
		began := time.Now()
		var err error
		if p, err = clearing.Solve(drawn); err != nil {
			return clearingFigures{}, err
		}
		times = append(times, millisSince(began))
	}
	began := time.Now()
	err := clearing.Check(p)
	f := clearingFigures{
		Circles: len(p.Labels), Obligations: len(p.Obligations), SetOff: p.GrossBefore - p.GrossAfter,
		Proven: err == nil, Check: millisSince(began), Solve: middle(times),
	}
	if err != nil || lemon == "" {
		return f, err
	}
	setOff, took, err := runLemon(ctx, lemon, p)
	if err != nil {
		return f, err
	}
	if setOff != f.SetOff {
		return f, fmt.Errorf("LEMON sets off %d minutes, we %d", setOff, f.SetOff)
	}
	f.Lemon, f.Ratio = took, f.Solve/took
	return f, nil
}

func millisSince(began time.Time) float64 { return float64(time.Since(began).Microseconds()) / 1000 }

func middle(times []float64) float64 {
	slices.Sort(times)
	return times[len(times)/2]
}

// buildLemon compiles the comparison, if the machine has what it takes.
func buildLemon(ctx context.Context, dir string) (string, error) {
	source, program := filepath.Join(dir, "netting.cc"), filepath.Join(dir, "netting")
	if err := os.WriteFile(source, lemonSource, 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "g++", "-O3", "-o", program, source).CombinedOutput()
	if err != nil {
		line, _, _ := strings.Cut(string(out), "\n")
		return "", fmt.Errorf("it takes g++ and liblemon-dev: %w %s", err, line)
	}
	return program, nil
}

// runLemon solves the same round with LEMON and returns the minutes set off, and the milliseconds.
func runLemon(ctx context.Context, program string, p clearing.Proposal) (int64, float64, error) {
	number := map[string]int{}
	for i, l := range p.Labels {
		number[l.Circle] = i
	}
	var in bytes.Buffer
	w := bufio.NewWriter(&in)
	fmt.Fprintln(w, len(p.Labels), len(p.Obligations)) //nolint:errcheck // Flush says it
	for _, o := range p.Obligations {
		fmt.Fprintln(w, number[o.Debtor], number[o.Creditor], o.Minutes) //nolint:errcheck // Flush says it
	}
	if err := w.Flush(); err != nil {
		return 0, 0, err
	}
	run := exec.CommandContext(ctx, program)
	run.Stdin = &in
	out, err := run.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("LEMON: %w", err)
	}
	words := strings.Fields(string(out))
	if len(words) != 1+clearingRuns {
		return 0, 0, fmt.Errorf("LEMON said %q", out)
	}
	setOff, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("LEMON said %q", out)
	}
	var times []float64
	for _, word := range words[1:] {
		took, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("LEMON said %q", out)
		}
		times = append(times, took)
	}
	return setOff, middle(times), nil
}
