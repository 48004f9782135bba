package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node"
)

// maxBaselineSeconds keeps a state in memory from growing until a snapshot of it is due.
const maxBaselineSeconds = 60

func benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "bench", Short: "Measure this program on this machine", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(benchLedgerCommand(), benchClearingCommand(), benchSearchCommand(), benchExchangeCommand())
	return c
}

// ledgerBench is what "bench ledger" is asked for.
type ledgerBench struct {
	Replicas, Clients, Batch, Seconds int

	Spread, Baseline bool

	dir, variant string
}

// ledgerFigures is what it measured.
type ledgerFigures struct {
	Variant   string  `json:"variant"` // as it is, or a baseline
	Replicas  int     `json:"replicas"`
	Clients   int     `json:"clients"`
	At        string  `json:"at"` // whom they ask: the leader, or every replica
	Batch     int     `json:"batch"`
	Seconds   float64 `json:"seconds"`
	Transfers int     `json:"transfers"` // acknowledged
	PerSecond float64 `json:"transfersPerSecond"`
	Ratio     float64 `json:"ratio,omitempty"` // with --baseline: to the program as it is
	P50       float64 `json:"p50Millis"`       // of one request
	P99       float64 `json:"p99Millis"`
	Written   float64 `json:"bytesWrittenPerTransfer"` // to disk, all replicas together
	CPU       float64 `json:"cpuMicrosPerTransfer"`    // of the replicas, all together
	Memory    string  `json:"residentMegabytes"`       // of each replica, at the end
	Refused   int     `json:"refused"`
	Retried   int     `json:"retried"`   // sent again with the same id until there was an answer
	BooksHold bool    `json:"booksHold"` // the books hold exactly what was acknowledged
}

func benchLedgerCommand() *cobra.Command {
	var b ledgerBench
	var output string
	c := &cobra.Command{
		Use: "ledger", Short: "Move coins in a circle of real nodes and count", Args: noArgs,
		Long: "Starts the replicas of a circle as processes of their own, each in a directory of its own,\n" +
			"synced to disk; makes members with accounts, and has clients move coins over loopback HTTP.\n" +
			"With --batch 1 each transfer is a member's command; with more, the operator's bulk request.\n" +
			"At the end the books must hold exactly what was acknowledged.",
		Example: "  carecircle bench ledger --replicas 3 --clients 16 --seconds 10 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if b.Clients < 1 || b.Batch < 1 || b.Seconds < 1 || b.Replicas < 1 {
				return usageError{errors.New("replicas, clients, batch and seconds are 1 or more")}
			}
			if b.Baseline && b.Seconds > maxBaselineSeconds {
				return usageError{fmt.Errorf("with --baseline, at most %d seconds", maxBaselineSeconds)}
			}
			all, err := b.measure(c.Context())
			if err != nil {
				return err
			}
			var shown any = all
			if len(all) == 1 {
				shown = all[0]
			}
			if err := show(c.OutOrStdout(), output, shown); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(f ledgerFigures) bool { return !f.BooksHold }) {
				return foundError{1}
			}
			return nil
		},
	}
	c.Flags().IntVar(&b.Replicas, "replicas", 1, "replicas of the circle")
	c.Flags().BoolVar(&b.Spread, "spread", false,
		"clients ask every replica, which forwards; else the leader")
	c.Flags().IntVar(&b.Clients, "clients", 16, "clients beside each other, one request at a time each")
	c.Flags().IntVar(&b.Batch, "batch", 1, "transfers in one request")
	c.Flags().IntVar(&b.Seconds, "seconds", 10, "how long to send")
	c.Flags().BoolVar(&b.Baseline, "baseline", false, "in turn the same with raft's log on bbolt, and with"+
		" the state in memory only")
	c.Flags().StringVar(&b.dir, "dir", "", "where to put the nodes' directories meanwhile; empty: /tmp")
	outputFlag(c, &output)
	return c
}

// measure runs the bench, with --baseline once for each variant as well.
func (b ledgerBench) measure(ctx context.Context) ([]ledgerFigures, error) {
	variants := []string{""}
	if b.Baseline {
		variants = append(variants, node.BaselineBolt, node.BaselineMemory)
	}
	var all []ledgerFigures
	for _, b.variant = range variants {
		f, err := b.run(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
		if b.Baseline {
			all[len(all)-1].Ratio = f.PerSecond / max(all[0].PerSecond, 1)
		}
	}
	return all, nil
}

// run starts the circle, sends, and compares the books with what was acknowledged.
func (b ledgerBench) run(ctx context.Context) (_ ledgerFigures, err error) {
	dir, err := os.MkdirTemp(b.dir, "carecircle-bench-")
	if err != nil {
		return ledgerFigures{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	circle, err := startBenchCircle(ctx, dir, b.Replicas, b.variant)
	if err != nil {
		return ledgerFigures{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, circle.stop()) }()
	town, err := newBenchTown(ctx, circle)
	if err != nil {
		return ledgerFigures{}, fmt.Errorf("bench: make the circle's members: %w", err)
	}
	at := "leader"
	if town.at = circle.nodes; b.Spread {
		at = "all"
	} else if town.at, err = circle.leading(ctx); err != nil {
		return ledgerFigures{}, err
	}
	before, err := circle.usage()
	if err != nil {
		return ledgerFigures{}, err
	}
	began := time.Now()
	load, err := town.send(ctx, b, began.Add(time.Duration(b.Seconds)*time.Second))
	took := time.Since(began)
	if err != nil {
		return ledgerFigures{}, fmt.Errorf("bench: %w", err)
	}
	after, err := circle.usage()
	if err != nil {
		return ledgerFigures{}, err
	}
	hold, err := town.compare(ctx, load)
	if err != nil {
		return ledgerFigures{}, fmt.Errorf("bench: compare the books: %w", err)
	}
	n := float64(max(load.transfers, 1))
	return ledgerFigures{
		Variant: cmp.Or(b.variant, "as it is"), At: at,
		Replicas: b.Replicas, Clients: b.Clients, Batch: b.Batch, Seconds: took.Seconds(),
		Transfers: load.transfers, PerSecond: float64(load.transfers) / took.Seconds(),
		P50: load.quantile(50), P99: load.quantile(99),
		Written: float64(after.written-before.written) / n,
		CPU:     float64((after.cpu - before.cpu).Microseconds()) / n,
		Memory:  after.memory, Refused: load.refused, Retried: load.retried, BooksHold: hold,
	}, nil
}

// closeQuietly is for what was only read.
func closeQuietly(c io.Closer) { _ = c.Close() }
