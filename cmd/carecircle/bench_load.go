package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

const (
	benchMembers   = 100
	benchRetryWait = 100 * time.Millisecond
	benchTries     = 300
	benchTimeout   = 30 * time.Second
)

// benchTown is the circle's members and how to speak as each of them.
type benchTown struct {
	circle *benchCircle
	at     []*benchNode // whom the clients ask, in turn
	people []string
	tokens []string
}

// newBenchTown makes members who may spend much, and signs each in.
func newBenchTown(ctx context.Context, c *benchCircle) (*benchTown, error) {
	t := &benchTown{circle: c}
	operator := c.nodes[0].operator()
	_, err := operator.Do(ctx, "", "", "coin.policy", coin.SetPolicy{
		FloorMinutes: -coin.MaxMinutes, EarnDayMinutes: 600, ReviewOn: "2099-01-01",
	}, nil)
	if err != nil {
		return nil, err
	}
	for i := range benchMembers {
		secret, hash, err := auth.NewSecret()
		if err != nil {
			return nil, err
		}
		var made member.Made
		_, err = operator.Do(ctx, "", "", "member.invite", member.Invite{
			Name: machine.Text("", fmt.Sprint("Member ", i)), Link: hash,
			Until: time.Now().Add(linkLife).UnixMilli(),
		}, &made)
		if err != nil {
			return nil, err
		}
		var entered auth.Entered
		asked := fmt.Appendf(nil, `{"link":%q}`, secret)
		device := fmt.Sprintf("192.0.2.%d", 1+i%250) // a documentation address: everyone has a device
		stranger := api.NewClient("http://"+c.nodes[0].addr, "").From(device)
		if err := stranger.Call(ctx, http.MethodPost, "/api/v1/enter", asked, &entered); err != nil {
			return nil, err
		}
		t.people = append(t.people, made.Person)
		t.tokens = append(t.tokens, entered.Token)
	}
	return t, nil
}

// benchLoad is what clients have sent and been told.
type benchLoad struct {
	transfers, refused, retried int
	took                        []time.Duration // of each request
	balances                    []int64         // by person, as acknowledged
}

func (l *benchLoad) add(o *benchLoad) {
	l.transfers += o.transfers
	l.refused += o.refused
	l.retried += o.retried
	l.took = append(l.took, o.took...)
	for i, n := range o.balances {
		l.balances[i] += n
	}
}

// quantile returns the time, in milliseconds, within which so many of a hundred requests were answered.
func (l *benchLoad) quantile(percent int) float64 {
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	at := min(len(l.took)*percent/100, len(l.took)-1)
	return float64(l.took[at].Microseconds()) / 1000
}

// send has the clients send until a time, and waits for every answer.
func (t *benchTown) send(ctx context.Context, b ledgerBench, until time.Time) (*benchLoad, error) {
	total := &benchLoad{balances: make([]int64, len(t.people))}
	var mu sync.Mutex
	var errs []error
	var clients sync.WaitGroup
	for i := range b.Clients {
		clients.Go(func() {
			c := &benchClient{
				town: t, index: i, batch: b.Batch, at: t.at[i%len(t.at)],
				load: benchLoad{balances: make([]int64, len(t.people))},
			}
			err := c.run(ctx, until)
			mu.Lock()
			defer mu.Unlock()
			total.add(&c.load)
			errs = append(errs, err)
		})
	}
	clients.Wait()
	return total, errors.Join(errs...)
}

// compare asks for every account and tells whether each holds what was acknowledged.
func (t *benchTown) compare(ctx context.Context, l *benchLoad) (bool, error) {
	operator := t.at[0].operator()
	var got coin.Overview
	if err := operator.View(ctx, "coin.overview", nil, &got); err != nil {
		return false, err
	}
	hold := got.SumMinutes == 0
	for i, person := range t.people {
		at := slices.IndexFunc(got.Accounts, func(a coin.Balance) bool { return a.Account == person })
		var posted int64
		if at >= 0 {
			posted = got.Accounts[at].Minutes
		}
		hold = hold && posted == l.balances[i]
	}
	return hold, nil
}

// benchClient sends one request after another over one connection. It speaks HTTP by itself: the clients
// share the processors with the nodes, and are not what is measured.
type benchClient struct {
	town  *benchTown
	index int
	batch int
	at    *benchNode
	conn  net.Conn
	in    *bufio.Reader
	out   bytes.Buffer
	body  bytes.Buffer
	moves [][2]int // the request's, by person; each moves one minute
	turn  int
	load  benchLoad
}

func (c *benchClient) run(ctx context.Context, until time.Time) error {
	defer c.hangUp()
	for time.Now().Before(until) && ctx.Err() == nil {
		id, err := api.NewID()
		if err != nil {
			return err
		}
		began := time.Now()
		c.ask(id)
		status, err := c.answer(ctx)
		if err != nil {
			return err
		}
		c.load.took = append(c.load.took, time.Since(began))
		if status != http.StatusOK {
			c.load.refused++
			continue
		}
		for _, m := range c.moves {
			c.load.balances[m[0]]--
			c.load.balances[m[1]]++
		}
		c.load.transfers += len(c.moves)
	}
	return ctx.Err()
}

// ask writes the next request. Everyone pays everyone in turn, so that balances stay near zero.
func (c *benchClient) ask(id machine.ID) {
	c.moves = c.moves[:0]
	for range c.batch {
		from := (c.index + c.turn) % len(c.town.people)
		to := (from + 1 + (c.turn/7)%(len(c.town.people)-1)) % len(c.town.people)
		c.moves = append(c.moves, [2]int{from, to})
		c.turn++
	}
	c.body.Reset()
	path, token := "/api/v1/do/coin.pay", c.town.tokens[c.moves[0][0]]
	if c.batch == 1 {
		fmt.Fprintf(&c.body, `{"id":"%s","body":{"to":"%s","minutes":1,"activity":"company"}}`, id,
			c.town.people[c.moves[0][1]])
	} else {
		path, token = "/api/v1/bulk", c.at.token
		c.askMany(id)
	}
	c.out.Reset()
	fmt.Fprintf(&c.out, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, c.at.addr, token, c.body.Len())
	c.out.Write(c.body.Bytes())
}

// askMany writes the body of a bulk request.
func (c *benchClient) askMany(id machine.ID) {
	fmt.Fprintf(&c.body, `{"id":"%s","activity":"company","transfers":[`, id)
	for i, m := range c.moves {
		if i > 0 {
			c.body.WriteByte(',')
		}
		c.body.WriteString(`["`)
		c.body.WriteString(c.town.people[m[0]])
		c.body.WriteString(`","`)
		c.body.WriteString(c.town.people[m[1]])
		c.body.WriteString(`",1]`)
	}
	c.body.WriteString("]}")
}

// answer sends the request, again and again with its one id, until a node has answered it.
func (c *benchClient) answer(ctx context.Context) (status int, err error) {
	for range benchTries {
		status, err = c.roundTrip()
		if err == nil && status != http.StatusServiceUnavailable {
			return status, nil
		}
		c.hangUp()
		c.load.retried++
		wait := time.NewTimer(benchRetryWait)
		select {
		case <-wait.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, fmt.Errorf("no answer to a transfer after %d tries, the last %d: %w", benchTries, status, err)
}

func (c *benchClient) roundTrip() (status int, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.at.addr, benchTimeout); err != nil {
			return 0, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(benchTimeout)); err != nil {
		return 0, err
	}
	if _, err := c.conn.Write(c.out.Bytes()); err != nil {
		return 0, err
	}
	return c.read()
}

// read reads one answer. Its body must be JSON where it says that all is well.
func (c *benchClient) read() (status int, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if len(line) < 12 {
				return 0, fmt.Errorf("%q begins no answer", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(rest)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the answer does not say how long it is")
	}
	c.body.Reset()
	if _, err := io.CopyN(&c.body, c.in, int64(length)); err != nil {
		return 0, err
	}
	if status == http.StatusOK && !json.Valid(c.body.Bytes()) {
		return 0, fmt.Errorf("the answer is not JSON: %.80q", c.body.Bytes())
	}
	return status, nil
}

func (c *benchClient) hangUp() {
	if c.conn != nil {
		closeQuietly(c.conn)
		c.conn = nil
	}
}
