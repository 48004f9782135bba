package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/finder"
)

// searchBench is what "bench search" is asked for.
type searchBench struct{ Cards, Circles, Queries int }

// searchFigures is what it measured.
type searchFigures struct {
	Cards      int     `json:"cards"`
	Circles    int     `json:"circles"`
	Queries    int     `json:"queries"`
	P50        float64 `json:"p50Millis"` // of one search, its cards read from the file included
	P99        float64 `json:"p99Millis"`
	Slowest    float64 `json:"slowestMillis"`
	Answers    float64 `json:"answersPerQuery"`
	Memory     float64 `json:"bytesPerCard"` // of memory
	Disk       float64 `json:"diskBytesPerCard"`
	Load       float64 `json:"loadSeconds"` // from the file, as when a node starts
	ScanEqual  bool    `json:"scanEqual"`   // every answer is that of a look at every card
	ScanP50    float64 `json:"scanP50Millis"`
	ScanRatio  float64 `json:"scanRatio"` // how many times as long the plain way takes
	Mismatches int     `json:"mismatches"`
}

func benchSearchCommand() *cobra.Command {
	var b searchBench
	var output string
	c := &cobra.Command{
		Use: "search", Short: "Find members among cards of many circles and time it", Args: noArgs,
		Long: "Draws cards of members, puts them where a node keeps those of other circles, and\n" +
			"searches with two to four criteria each: words, support, skills, languages, distance,\n" +
			"time, rate. Every answer is compared with that of a plain look at every card.\n" +
			"Signatures are not made here.",
		Example: "  carecircle bench search --cards 100000 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if b.Cards < 1 || b.Circles < 1 || b.Queries < 1 {
				return usageError{errors.New("cards, circles and queries are 1 or more")}
			}
			if b.Cards > finder.MaxCards*b.Circles {
				return usageError{fmt.Errorf("at most %d cards of one circle: give more circles",
					finder.MaxCards)}
			}
			f, err := b.run(c.Context(), c.ErrOrStderr())
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			if err := show(c.OutOrStdout(), output, f); err != nil {
				return err
			}
			if !f.ScanEqual {
				return foundError{f.Mismatches}
			}
			return nil
		},
	}
	c.Flags().IntVar(&b.Cards, "cards", 100_000, "cards to search among")
	c.Flags().IntVar(&b.Circles, "circles", 1_000, "circles they are of")
	c.Flags().IntVar(&b.Queries, "queries", 1_000, "searches")
	outputFlag(c, &output)
	return c
}

const drawnAt = 1_800_000_000_000 // a full hour

func (b searchBench) run(ctx context.Context, progress io.Writer) (_ searchFigures, err error) {
	dir, err := os.MkdirTemp("", "carecircle-bench-")
	if err != nil {
		return searchFigures{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.fill(ctx, dir, progress); err != nil {
		return searchFigures{}, err
	}
	before := heapBytes()
	began := time.Now()
	f, err := finder.Open(dir, make([]byte, 32))
	if err != nil {
		return searchFigures{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	figures := searchFigures{
		Cards: f.Count(), Circles: b.Circles, Queries: b.Queries, Load: time.Since(began).Seconds(),
	}
	figures.Memory = float64(heapBytes()-before) / float64(b.Cards)
	if info, err := os.Stat(dir + "/cards"); err == nil {
		figures.Disk = float64(info.Size()) / float64(b.Cards)
	}
	answers, err := b.search(f, &figures)
	if err != nil {
		return searchFigures{}, err
	}
	b.compare(ctx, answers, &figures)
	return figures, ctx.Err()
}

// fill draws the cards and puts them where a node keeps them.
func (b searchBench) fill(ctx context.Context, dir string, progress io.Writer) (err error) {
	f, err := finder.Open(dir, make([]byte, 32))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	const atOnce = 1000
	for n := 0; n < b.Cards && ctx.Err() == nil; n += atOnce {
		var batch []letter.Signed
		for i := n; i < min(n+atOnce, b.Cards); i++ {
			raw, err := letter.Marshal(finder.DrawCard(i, b.Circles, drawnAt+1))
			if err != nil {
				return err
			}
			batch = append(batch, letter.Signed{Bytes: raw, Sig: make([]byte, 64)})
		}
		if _, err := f.Put(batch); err != nil {
			return err
		}
		if n%100_000 == 0 {
			if _, err := fmt.Fprintf(progress, "%d of %d cards\n", n, b.Cards); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type searchAnswer struct {
	ids   []string
	total int
}

func (b searchBench) search(f *finder.Finder, figures *searchFigures) ([]searchAnswer, error) {
	var answers []searchAnswer
	var times []float64
	for i := range b.Queries {
		q := finder.DrawQuery(i, drawnAt)
		began := time.Now()
		found, total, err := f.Search(q)
		times = append(times, millisSince(began))
		if err != nil {
			return nil, err
		}
		a := searchAnswer{total: total}
		for _, x := range found {
			a.ids = append(a.ids, x.Card.ID)
		}
		answers = append(answers, a)
		figures.Answers += float64(total) / float64(b.Queries)
	}
	slices.Sort(times)
	figures.P50, figures.P99 = times[len(times)/2], times[len(times)*99/100]
	figures.Slowest = times[len(times)-1]
	return answers, nil
}

// compare looks at every card for every query.
func (b searchBench) compare(ctx context.Context, answers []searchAnswer, figures *searchFigures) {
	cards := make([]directory.Card, b.Cards)
	for i := range cards {
		cards[i] = finder.DrawCard(i, b.Circles, drawnAt+1)
	}
	var times []float64
	for i, a := range answers {
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		places, total := finder.Scan(cards, finder.DrawQuery(i, drawnAt))
		times = append(times, millisSince(began))
		same := total == a.total && len(places) == len(a.ids)
		for j := 0; same && j < len(places); j++ {
			same = cards[places[j]].ID == a.ids[j]
		}
		if !same {
			figures.Mismatches++
		}
	}
	figures.ScanEqual = figures.Mismatches == 0
	figures.ScanP50 = middle(times)
	figures.ScanRatio = figures.ScanP50 / figures.P50
}
