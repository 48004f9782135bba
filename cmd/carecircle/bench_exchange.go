package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node/api"
)

const (
	exchangePoll   = 10 * time.Millisecond
	exchangeWait   = 30 * time.Second
	exchangePayers = 4 // in turn: one alone would ask too much at once
	benchCode      = "BENCH222"
)

// exchangeFigures is what "bench exchange" measured.
type exchangeFigures struct {
	Payments int     `json:"payments"`    // between the two circles, and as many within one
	Local    float64 `json:"localMillis"` // median, of a durable command of one circle
	Cross    float64 `json:"crossMillis"` // median, from asking until the payer's circle has settled
	Ratio    float64 `json:"ratio"`       // of the two medians
	CrossP99 float64 `json:"crossP99Millis"`
	Mirrored bool    `json:"mirrored"` // both circles' accounts of each other agree at the end
}

func benchExchangeCommand() *cobra.Command {
	var payments int
	var output, dir string
	c := &cobra.Command{
		Use: "exchange", Short: "Send coins between two circles of real nodes and time it", Args: noArgs,
		Long: "Starts two circles of one node each as processes of their own, synced to disk, and allies\n" +
			"them. In turn a member pays a neighbour, and a member of the other circle; the latter is\n" +
			"timed until the payer is told that it is paid, which takes three commits.",
		Example: "  carecircle bench exchange --payments 200 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if payments < 1 {
				return usageError{errors.New("payments are 1 or more")}
			}
			f, err := measureExchange(c.Context(), dir, payments)
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			if err := show(c.OutOrStdout(), output, f); err != nil {
				return err
			}
			if !f.Mirrored {
				return foundError{1}
			}
			return nil
		},
	}
	c.Flags().IntVar(&payments, "payments", 200, "payments between the circles")
	c.Flags().StringVar(&dir, "dir", "", "where to put the nodes' directories meanwhile; empty: /tmp")
	outputFlag(c, &output)
	return c
}

func measureExchange(ctx context.Context, under string, payments int) (_ exchangeFigures, err error) {
	dir, err := os.MkdirTemp(under, "carecircle-bench-")
	if err != nil {
		return exchangeFigures{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var towns [2]*benchTown
	for i := range towns {
		circle, err := startBenchCircle(ctx, filepath.Join(dir, fmt.Sprint(i+1)), 1, "")
		if err != nil {
			return exchangeFigures{}, err
		}
		defer func() { err = errors.Join(err, circle.stop()) }()
		if towns[i], err = newBenchTown(ctx, circle); err != nil {
			return exchangeFigures{}, err
		}
	}
	p := &exchangeBench{from: towns[0], to: towns[1], settled: make(chan struct{}, payments)}
	if err := p.ally(ctx); err != nil {
		return exchangeFigures{}, err
	}
	stop, err := p.listen(ctx)
	if err != nil {
		return exchangeFigures{}, err
	}
	defer stop()
	var local, cross []float64
	for range payments {
		began := time.Now()
		if err := p.payNeighbour(ctx); err != nil {
			return exchangeFigures{}, err
		}
		local = append(local, millisSince(began))
		began = time.Now()
		if err := p.payAbroad(ctx); err != nil {
			return exchangeFigures{}, err
		}
		cross = append(cross, millisSince(began))
	}
	f := exchangeFigures{Payments: payments, Local: middle(local), Cross: middle(cross)}
	f.Ratio, f.CrossP99 = f.Cross/f.Local, cross[len(cross)*99/100]
	f.Mirrored, err = p.mirrored(ctx, int64(payments))
	return f, err
}

// exchangeBench is two circles, of which one pays.
type exchangeBench struct {
	from, to *benchTown
	circle   string // the id of the one that is paid
	turn     int
	settled  chan struct{} // one for each payment that a payer was told is settled
}

// listen has every payer's device be told what happens, as a page that is open is.
func (p *exchangeBench) listen(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	stop = func() {
		cancel()
		reading.Wait()
	}
	for i := range exchangePayers {
		body, err := p.from.client(i).Send(ctx, http.MethodGet, "/api/v1/events", nil)
		if err != nil {
			stop()
			return nil, err
		}
		reading.Go(func() {
			defer closeQuietly(body)
			for lines := bufio.NewScanner(body); lines.Scan(); {
				if strings.Contains(lines.Text(), `"kind":"exchange.settled"`) {
					p.settled <- struct{}{}
				}
			}
		})
	}
	return stop, nil
}

func (t *benchTown) client(person int) *api.Client {
	return api.NewClient("http://"+t.circle.nodes[0].addr, t.tokens[person])
}

// ally has the circles meet and agree, and the first person of the second draw a code.
func (p *exchangeBench) ally(ctx context.Context) error {
	ids, cards := [2]string{}, [2][]byte{}
	for i, t := range []*benchTown{p.from, p.to} {
		body, err := t.circle.nodes[0].operator().Send(ctx, "GET", "/api/v1/card", nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(body)
		closeQuietly(body)
		if err != nil {
			return err
		}
		if cards[i], err = charter.ParseText(string(text)); err != nil {
			return err
		}
		card, err := charter.OpenCard(cards[i])
		if err != nil {
			return err
		}
		ids[i] = string(card.Circle)
	}
	for i, t := range []*benchTown{p.from, p.to} {
		operator := t.circle.nodes[0].operator()
		_, err := operator.Do(ctx, "", "", "exchange.meet", exchange.Meet{Card: cards[1-i]}, nil)
		if err == nil {
			_, err = operator.Patient().Do(ctx, "", "", "exchange.ally", exchange.Ally{
				Circle: ids[1-i], LimitMinutes: exchange.MaxLimitMinutes, ReviewOn: "2099-01-01",
			}, nil)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.to.client(0).Do(ctx, "", "", "exchange.code", exchange.SetCode{Code: benchCode}, nil)
	if err != nil {
		return err
	}
	p.circle = ids[1]
	return p.until(ctx, func() (bool, error) {
		for _, t := range []*benchTown{p.from, p.to} {
			var all exchange.Alliances
			err := t.circle.nodes[0].operator().View(ctx, "exchange.alliances", nil, &all)
			if err != nil || len(all.Alliances) != 1 || all.Alliances[0].State != "in-force" {
				return false, err
			}
		}
		return true, nil
	})
}

// until asks again and again whether something is so.
func (p *exchangeBench) until(ctx context.Context, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeWait)
	defer cancel()
	tick := time.NewTicker(exchangePoll)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the other circle did not answer: %w", ctx.Err())
		}
	}
}

// payer is each member in turn, as nobody may ask too much at once.
func (p *exchangeBench) payer() *api.Client {
	p.turn++
	return p.from.client(p.turn % exchangePayers)
}

func (p *exchangeBench) payNeighbour(ctx context.Context) error {
	_, err := p.payer().Do(ctx, "", "", "coin.pay", coin.Pay{
		To: p.from.people[(p.turn+1)%len(p.from.people)], Minutes: 1, Activity: "company",
	}, nil)
	return err
}

func (p *exchangeBench) payAbroad(ctx context.Context) error {
	_, err := p.payer().Patient().Do(ctx, "", "", "exchange.pay", exchange.Pay{
		Circle: p.circle, Code: benchCode, Minutes: 1,
	}, nil)
	if err != nil {
		return err
	}
	select {
	case <-p.settled:
		return nil
	case <-time.After(exchangeWait):
		return errors.New("the other circle did not answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mirrored compares what each circle says of the other.
func (p *exchangeBench) mirrored(ctx context.Context, minutes int64) (bool, error) {
	var ends [2]exchange.Alliances
	for i, t := range []*benchTown{p.from, p.to} {
		err := t.circle.nodes[0].operator().View(ctx, "exchange.alliances", nil, &ends[i])
		if err != nil {
			return false, err
		}
	}
	return ends[0].Alliances[0].Minutes == minutes && ends[1].Alliances[0].Minutes == -minutes, nil
}
