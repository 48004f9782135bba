package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/export"
)

var soak = flag.Bool("soak", false, "run the long tests at full length")

// payment is one request of the test, what it was told, and what must come of it.
type payment struct {
	from, payer int // side 0 or 1, person there
	payee       int
	id          string
	body        exchange.Pay
	told        told
	want        string // settled, returned or refused
}

// TestKillNineSoak pays across two circles, each a real process on a real disk, while the processes are
// killed
// and started again. A client repeats each request, with its one id, until it has an answer.
func TestKillNineSoak(t *testing.T) {
	count, kills := 120, 12
	if *soak {
		count, kills = 500, 50
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d payments, seed %d", count, seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	both := twoAllies(t, 6)
	all := plan(t, both, count, dice)
	began := time.Now()
	killed := 0
	for k := range kills {
		killed += killRound(t, both, all[count*k/kills:count*(k+1)/kills], dice)
	}
	answered := time.Since(began)
	waitSettled(t, both)
	t.Logf("answered after %v, settled after %v", answered.Round(time.Millisecond),
		time.Since(began).Round(time.Millisecond))
	repeated, tries := 0, 0
	for _, p := range all {
		tries += p.told.tries
		if p.told.answer.Repeated {
			repeated++
		}
	}
	t.Logf("%d kills, %d requests for %d payments; %d were done before their first answer came", killed,
		tries,
		count, repeated)
	if tries <= count {
		t.Error("no request went unanswered: the kills hit nothing")
	}
	checkPayments(t, both, all)
	checkBalances(t, both)
	checkAnswers(t, both, all)
	checkLogs(t, both)
}

// plan draws the payments: most arrive; some have a code nobody has and come back; some are more than anyone
// holds and are refused.
func plan(t *testing.T, both [2]*killable, count int, dice *rand.Rand) []*payment {
	t.Helper()
	var all []*payment
	for i := range count {
		id, err := api.NewID()
		if err != nil {
			t.Fatal(err)
		}
		p := &payment{
			from: i % 2, payer: i / 2 % 6, payee: (i/12 + i/2) % 6, id: id.String(),
			want: "settled",
		}
		to := both[1-p.from]
		p.body = exchange.Pay{
			Circle: to.id, Code: to.people[p.payee].code, Minutes: 1 + dice.Int64N(9), Activity: "a lift",
			Note: machine.Text("", fmt.Sprintf("payment %d", i)),
		}
		switch {
		case i%10 == 7:
			p.body.Code, p.want = nobodysCode, "returned"
		case i%20 == 4:
			p.body.Minutes, p.want = 99_999, "refused"
		default:
			both[p.from].people[p.payer].minutes -= p.body.Minutes
			to.people[p.payee].minutes += p.body.Minutes
		}
		all = append(all, p)
	}
	return all
}

// killRound makes some payments at once, and kills one node while they are under way. It returns how often.
func killRound(t *testing.T, both [2]*killable, round []*payment, dice *rand.Rand) (kills int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLong)
	defer cancel()
	victim := both[dice.IntN(2)]
	killAfter := time.Duration(dice.Int64N(int64(40 * time.Millisecond)))
	downFor := time.Duration(dice.Int64N(int64(150 * time.Millisecond)))
	again, againAfter := dice.IntN(3) == 0, time.Duration(dice.Int64N(int64(300*time.Millisecond)))
	var busy sync.WaitGroup
	for _, p := range round {
		busy.Go(func() {
			var err error
			if p.told, err = untilAnswered(ctx, both[p.from].people[p.payer].client, p.id,
				p.body); err != nil {
				t.Errorf("payment %s was never answered: %v", p.id, err)
			}
		})
	}
	pause(ctx, killAfter)
	victim.kill()
	pause(ctx, downFor)
	victim.restart(t)
	if again { // and once more while it starts
		pause(ctx, againAfter)
		victim.kill()
		victim.restart(t)
		kills++
	}
	busy.Wait()
	if t.Failed() {
		t.Fatalf("North said:\n%s\nSouth said:\n%s", both[0].node.said.String(), both[1].node.said.String())
	}
	return kills + 1
}

// pause lets a moment pass that no condition marks: when a kill hits is to be left to chance.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// waitSettled waits until no payment is on the way.
func waitSettled(t *testing.T, both [2]*killable) {
	t.Helper()
	waitUntil(t, "no payment is on the way", func() (bool, error) {
		var a [2]exchange.Alliance
		for i, c := range both {
			var err error
			if a[i], err = c.alliance(t.Context()); err != nil {
				return false, err
			}
			if a[i].State != "in-force" {
				t.Fatalf("%s: the alliance is %s: %s", c.name, a[i].State, a[i].Why)
			}
		}
		got := a[0].Got == a[1].Sent && a[1].Got == a[0].Sent
		return got && a[0].Waiting+a[1].Waiting == 0 && a[0].HeldMinutes+a[1].HeldMinutes == 0, nil
	})
}

// sideOf is what one circle says about one payment.
type sideOf struct {
	state   string
	minutes int64
	person  string
}

func paymentsOf(t *testing.T, c *killable) (out, in map[machine.ID]sideOf) {
	t.Helper()
	out, in = map[machine.ID]sideOf{}, map[machine.ID]sideOf{}
	for _, p := range c.people {
		if n := c.payments(t, p.client, p.id, out, in); n >= exchange.MaxPaymentsShown {
			t.Fatalf("%s lists %d payments of one person: take more people", c.name, n)
		}
	}
	return out, in
}

// payments adds what the circle lists of one person's payments, and tells how many those are.
func (c *killable) payments(
	t *testing.T, as *api.Client, person string, out, in map[machine.ID]sideOf,
) int {
	t.Helper()
	var list exchange.Payments
	c.view(t, as, "exchange.payments", &list)
	for _, x := range list.Payments {
		into := out
		if x.Incoming {
			into = in
		}
		if _, twice := into[x.Payment]; twice {
			t.Errorf("%s lists payment %s twice", c.name, x.Payment)
		}
		into[x.Payment] = sideOf{x.State, x.Minutes, person}
	}
	return len(list.Payments)
}

// checkPayments holds both sides' lists of payments against what was planned.
func checkPayments(t *testing.T, both [2]*killable, all []*payment) {
	t.Helper()
	var out, in [2]map[machine.ID]sideOf
	for i, c := range both {
		out[i], in[i] = paymentsOf(t, c)
	}
	for _, p := range all {
		if p.want == "refused" {
			if p.told.refusal == nil || p.told.refusal.Code != "floor_passed" {
				t.Errorf("payment %s of too much was answered %+v", p.id, p.told)
			}
			continue
		}
		if p.told.refusal != nil {
			t.Errorf("payment %s was refused: %v", p.id, p.told.refusal)
			continue
		}
		tid := p.told.paid.Payment
		payer, payee := both[p.from].people[p.payer].id, both[1-p.from].people[p.payee].id
		if got, want := out[p.from][tid], (sideOf{p.want, p.body.Minutes, payer}); got != want {
			t.Errorf("payment %s: the payer's side has %+v, want %+v", p.id, got, want)
		}
		got, there := in[1-p.from][tid]
		switch {
		case p.want == "returned" && there:
			t.Errorf("payment %s was returned, yet the payee's side lists %+v", p.id, got)
		case p.want == "settled" && got != sideOf{p.want, p.body.Minutes, payee}:
			t.Errorf("payment %s: the payee's side has %+v, want %s %d of %s", p.id, got, p.want,
				p.body.Minutes, payee)
		}
		delete(out[p.from], tid)
		delete(in[1-p.from], tid)
	}
	for i, c := range both {
		if n := len(out[i]) + len(in[i]); n != 0 {
			t.Errorf("%s lists %d payments nobody made: %v %v", c.name, n, out[i], in[i])
		}
	}
}

// checkBalances wants every person's coins to be what the payments make them, nothing held, sums of zero, and
// accounts that mirror each other.
func checkBalances(t *testing.T, both [2]*killable) {
	t.Helper()
	var mirrors int64
	for i, c := range both {
		var books coin.Overview
		c.view(t, c.operator, "coin.overview", &books)
		var sum int64
		have := map[string]coin.Balance{}
		for _, a := range books.Accounts {
			sum += a.Minutes
			have[a.Account] = a
			if a.HeldIn != 0 || a.HeldOut != 0 {
				t.Errorf("%s: %s still holds %d in, %d out", c.name, a.Name, a.HeldIn, a.HeldOut)
			}
		}
		if sum != 0 || books.SumMinutes != 0 {
			t.Errorf("%s: the book sums to %d, says %d", c.name, sum, books.SumMinutes)
		}
		for _, p := range c.people {
			if got := have[p.id].Minutes; got != p.minutes {
				t.Errorf("%s: %s has %d minutes, want %d", c.name, p.code, got, p.minutes)
			}
		}
		mirrors += have[coin.CirclePrefix+both[1-i].id].Minutes
	}
	if mirrors != 0 {
		t.Errorf("the circles' accounts for each other differ by %d minutes", mirrors)
	}
}

// checkAnswers asks every request once more, after both nodes were killed a last time.
func checkAnswers(t *testing.T, both [2]*killable, all []*payment) {
	t.Helper()
	for _, c := range both {
		c.kill()
		c.restart(t).waitReady(t)
	}
	for _, p := range all {
		again, err := untilAnswered(t.Context(), both[p.from].people[p.payer].client, p.id, p.body)
		switch {
		case err != nil:
			t.Fatal(err)
		case (again.refusal == nil) != (p.told.refusal == nil):
			t.Errorf("payment %s was answered %+v, then %+v", p.id, p.told, again)
		case again.refusal != nil && *again.refusal != *p.told.refusal:
			t.Errorf("payment %s was refused %v, then %v", p.id, p.told.refusal, again.refusal)
		case again.refusal == nil && (!again.answer.Repeated || again.paid != p.told.paid ||
			again.answer.Position != p.told.answer.Position || again.answer.ID != p.told.answer.ID):
			t.Errorf("payment %s was answered %+v, then %+v", p.id, p.told, again)
		}
	}
	checkBalances(t, both)
}

// checkedLog exports the circle's log, and checks it with nothing but the file.
func (c *killable) checkedLog(t *testing.T) (path string, checked export.Checked) {
	t.Helper()
	path = filepath.Join(t.TempDir(), c.name+".log")
	if err := os.WriteFile(path, []byte(call(t, "export", "--data", c.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	checked, err := verifyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, checked
}

// checkLogs exports both logs and checks them with nothing but the files.
func checkLogs(t *testing.T, both [2]*killable) {
	t.Helper()
	var logs []export.Checked
	args := []string{"verify"}
	for _, c := range both {
		path, checked := c.checkedLog(t)
		if checked.Circle != c.id || len(checked.Mirrors) != 1 || checked.Mirrors[0].BookMinutes == 0 {
			t.Errorf("the log of %s gives %+v", c.name, checked)
		}
		args, logs = append(args, path), append(logs, checked)
	}
	if found := export.Compare(logs); len(found) > 0 {
		t.Errorf("the logs differ: %v", found)
	}
	t.Log("\n" + call(t, args...))
}
