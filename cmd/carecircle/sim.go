package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node/sim"
)

// simRun is what "sim" is asked for.
type simRun struct {
	Seed   uint64
	Seeds  int
	Mutate string
	Cores  int
}

// simFigures is what came of it.
type simFigures struct {
	Histories  int      `json:"histories"`
	Payments   int      `json:"payments"` // between circles
	Crashes    int      `json:"crashes"`
	Restores   int      `json:"restores"` // of circles and the hub, to older copies
	Recalled   int      `json:"recalled"` // letters that circles took back from peers after one
	Verdicts   int      `json:"verdicts"` // of the hub
	Moves      int      `json:"moves"`    // of members to another circle, done
	Rounds     int      `json:"rounds"`   // of setting off between circles, cleared
	Violations int      `json:"violations"`
	Found      []string `json:"found,omitempty"` // the first few, each with its seed
	Seconds    float64  `json:"seconds"`
	PerSecond  float64  `json:"historiesPerSecond"` // on all cores used
	Cores      int      `json:"cores"`
}

// caught is what became of one mutation.
type caught struct {
	Mutation  string `json:"mutation"`
	Seeds     int    `json:"seeds"`     // needed to notice it; all that were tried if nobody did
	Checker   string `json:"checker"`   // who noticed; empty: nobody
	Violation string `json:"violation"` // in words
}

func simCommand() *cobra.Command {
	var r simRun
	var output string
	var list bool
	c := &cobra.Command{
		Use: "sim", Short: "Play a federation in memory, with faults, and check its books", Args: noArgs,
		Long: "Plays histories of several circles and a hub in one process, each from a seed: people pay\n" +
			"across circles while messages are lost, repeated and late, lines are cut, machines crash,\n" +
			"and circles and the hub are put back to older copies. Then the faults stop and all must\n" +
			"come to rest, with every book right. The same seed and program give the same history.\n" +
			"With --mutate one of the rules that keep payments exact is off, to see that it is noticed:\n" +
			"exit code 1 then too; with \"all\" it is 1 when one was not.",
		Example: "  carecircle sim --seeds 2000 -o json\n  carecircle sim --seed 77\n" +
			"  carecircle sim --mutate all --seeds 20000",
		RunE: func(c *cobra.Command, _ []string) error {
			if list {
				_, err := fmt.Fprintln(c.OutOrStdout(), strings.Join(sim.RulesOff(), "\n"))
				return err
			}
			return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), output)
		},
	}
	c.Flags().Uint64Var(&r.Seed, "seed", 1, "the first seed")
	c.Flags().IntVar(&r.Seeds, "seeds", 1, "how many, one after the other")
	c.Flags().StringVar(&r.Mutate, "mutate", "", "a rule to switch off, or all in turn: see --mutations")
	c.Flags().BoolVar(&list, "mutations", false, "list the rules that can be off")
	c.Flags().IntVar(&r.Cores, "cores", runtime.NumCPU(), "processor cores to use")
	outputFlag(c, &output)
	return c
}

func (r simRun) run(ctx context.Context, out, progress io.Writer, output string) error {
	if r.Seeds < 1 || r.Cores < 1 {
		return usageError{errors.New("seeds and cores are 1 or more")}
	}
	if known := sim.RulesOff(); r.Mutate != "" && r.Mutate != "all" && !slices.Contains(known, r.Mutate) {
		return usageError{fmt.Errorf("there is no mutation %q; those there are: %s", r.Mutate,
			strings.Join(known, ", "))}
	}
	debug.SetGCPercent(400) // histories are short-lived; more than this falls out of the processor's caches
	if r.Mutate != "" {
		return r.mutations(ctx, out, progress, output)
	}
	f := r.histories(ctx, progress)
	if err := show(out, output, f); err != nil {
		return err
	}
	if f.Violations > 0 {
		return fmt.Errorf("%d violations in %d histories", f.Violations, f.Histories)
	}
	return ctx.Err()
}

const violationsShown = 5

// play runs the seeds on all cores and gives each result to look, one at a time; it ends early when look says
// so. Results come in any order.
func (r simRun) play(ctx context.Context, look func(sim.Result) (more bool)) {
	seeds, results := make(chan uint64), make(chan sim.Result)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(seeds)
		for n := range uint64(r.Seeds) {
			select {
			case seeds <- r.Seed + n:
			case <-ctx.Done():
				return
			}
		}
	}()
	var players sync.WaitGroup
	for range r.Cores {
		players.Go(func() {
			for seed := range seeds {
				results <- sim.Run(sim.Options{Seed: seed, Mutate: r.Mutate})
			}
		})
	}
	go func() {
		players.Wait()
		close(results)
	}()
	for res := range results {
		if !look(res) {
			stop()
		}
	}
}

func (r simRun) histories(ctx context.Context, progress io.Writer) simFigures {
	f := simFigures{Cores: r.Cores}
	began, told := time.Now(), time.Now()
	r.play(ctx, func(res sim.Result) bool {
		f.Histories++
		f.Payments += res.Payments
		f.Crashes += res.Crashes
		f.Restores += res.Restores
		f.Recalled += res.Recalls
		f.Verdicts += res.Verdicts
		f.Moves += res.Moves
		f.Rounds += res.Rounds
		f.Violations += len(res.Violations)
		if len(res.Violations) > 0 && len(f.Found) < violationsShown {
			f.Found = append(f.Found, fmt.Sprintf("seed %d: %s", res.Seed, res.Violations[0]))
			printTrace(progress, res)
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			_, _ = fmt.Fprintf(progress, "%d of %d histories, %d violations\n", f.Histories, r.Seeds,
				f.Violations)
		}
		return true
	})
	f.Seconds = time.Since(began).Seconds()
	f.PerSecond = float64(f.Histories) / f.Seconds
	return f
}

// printTrace shows what led to the first violation of a history, and how to see all of it.
func printTrace(w io.Writer, res sim.Result) {
	for _, line := range res.Events {
		_, _ = fmt.Fprintln(w, line)
	}
	for _, v := range res.Violations {
		_, _ = fmt.Fprintf(w, "seed %d: %s\n", res.Seed, v)
	}
}

// mutations switches rules off and counts the seeds until somebody notices.
func (r simRun) mutations(ctx context.Context, out, progress io.Writer, output string) error {
	names := []string{r.Mutate}
	if r.Mutate == "all" {
		names = sim.RulesOff()
	}
	var all []caught
	missed := 0
	for _, r.Mutate = range names {
		c := r.untilCaught(ctx)
		all = append(all, c)
		if c.Checker == "" {
			missed++
		}
		_, _ = fmt.Fprintf(progress, "%s: %d seeds\n", c.Mutation, c.Seeds)
	}
	if err := show(out, output, all); err != nil {
		return err
	}
	switch {
	case len(all) > 1 && missed > 0:
		return fmt.Errorf("%d of %d rules could be off without anybody noticing", missed, len(all))
	case len(all) == 1 && missed == 0:
		return fmt.Errorf("a violation was found, as it should be with %s", all[0].Mutation)
	}
	return ctx.Err()
}

func (r simRun) untilCaught(ctx context.Context) caught {
	c := caught{Mutation: r.Mutate, Seeds: r.Seeds}
	r.play(ctx, func(res sim.Result) bool {
		tried := int(res.Seed-r.Seed) + 1
		if len(res.Violations) > 0 && (c.Checker == "" || tried < c.Seeds) {
			c.Seeds, c.Violation = tried, res.Violations[0]
			c.Checker, _, _ = strings.Cut(res.Violations[0], ":")
		}
		return c.Checker == ""
	})
	return c
}
