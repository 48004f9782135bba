package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
	"github.com/carecircle/carecircle/node/export"
)

// command has a command done, however often it takes.
func command(ctx context.Context, as *api.Client, kind string, body any) error {
	id, err := api.NewID()
	if err != nil {
		return err
	}
	if _, _, err = insist(ctx, as, id.String(), kind, body, nil); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// until waits for a condition; nodes may be dead meanwhile.
func (c *commonwealth) until(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return errors.Join(fmt.Errorf("waited in vain until %s", what), err)
		}
	}
}

// move takes somebody to another circle, as they, the two circles and a browser do it.
func (c *commonwealth) move(ctx context.Context, s *soul, to *killable) error {
	err := command(ctx, s.client, "moving.ask", moving.Ask{
		Circle: to.id, Name: machine.Text("", s.name), Words: machine.Text("", "The hills call me."),
	})
	if err != nil {
		return err
	}
	var at moving.Arrival
	coming := func(stage string) error {
		return c.until(ctx, s.name+" is "+stage+" at "+to.name, func() (bool, error) {
			var all moving.Arrivals
			err := to.operator.View(ctx, "moving.arrivals", nil, &all)
			i := slices.IndexFunc(all.Arrivals, func(a moving.Arrival) bool {
				return a.Name == s.name && a.Stage == stage && a.Circle == s.home.id &&
					(at.ID == "" || a.ID == at.ID)
			})
			if i >= 0 {
				at = all.Arrivals[i]
			}
			return i >= 0, err
		})
	}
	if err := coming("waiting"); err != nil {
		return err
	}
	code := fmt.Sprintf("%sMOVED%c%c", s.code[:1], 'A'+c.moves/20%20, 'A'+c.moves%20)
	err = command(ctx, to.operator, "moving.decide", moving.Decide{
		Circle: s.home.id, ID: at.ID, Yes: true, Name: machine.Text("", s.name), Code: code,
	})
	if err != nil {
		return err
	}
	err = c.until(ctx, s.name+" is accepted", func() (bool, error) {
		var mine moving.Mine
		err := s.client.View(ctx, "moving.mine", nil, &mine)
		return mine.Stage == "accepted", err
	})
	if err != nil {
		return err
	}
	secret, hash, err := auth.NewSecret()
	if err != nil {
		return err
	}
	if err := command(ctx, s.client, "moving.go", moving.Go{Link: hash}); err != nil {
		return err
	}
	if err := coming("here"); err != nil {
		return err
	}
	c.t.Logf("%s moved from %s to %s", s.name, s.home.name, to.name)
	s.home, s.id, s.code = to, at.Person, code
	return c.enter(ctx, s, secret)
}

// enter signs somebody in where they live: by this link, or by a new one where that is used up.
func (c *commonwealth) enter(ctx context.Context, s *soul, secret string) error {
	for {
		var err error
		if s.links++; secret != "" {
			device := 1 + (s.links+17*slices.Index(c.souls, s))%250
			if s.client, err = s.home.enter(ctx, secret, device); err == nil {
				return nil
			}
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("%s cannot enter %s: %w", s.name, s.home.name, err)
		}
		var hash machine.Hash
		if secret, hash, err = auth.NewSecret(); err != nil {
			return err
		}
		err = command(ctx, s.home.operator, "member.link", member.Link{
			Person: s.id, Link: hash, Until: time.Now().Add(time.Hour).UnixMilli(),
		})
		if err != nil {
			return err
		}
	}
}

// putBack puts an old copy in the place of a circle's directory. Who lives there has to sign in anew; what
// the circle answered since then it may answer otherwise, for its log has been taken back.
func (c *commonwealth) putBack(x *killable, from string) {
	c.t.Helper()
	x.putBack(c.t, from)
	c.settle()
	c.all = slices.DeleteFunc(c.all, func(p *crossing) bool { return p.from == x })
	c.welcomeAgain(x)
	c.settle()
	for _, s := range c.souls {
		if s.home == x {
			if err := c.enter(c.t.Context(), s, ""); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	waitUntil(c.t, "who left has left once more", func() (bool, error) {
		var list member.People
		err := x.operator.View(c.t.Context(), "member.list", nil, &list)
		gone := slices.ContainsFunc(c.souls, func(s *soul) bool {
			return s.home != x && slices.ContainsFunc(list.People, func(p member.Listed) bool {
				return p.Name == s.name
			})
		})
		return !gone, err
	})
	c.settle()
}

// welcomeAgain has a circle that was put back say yes once more to all who came since, also to those who have
// left it again.
func (c *commonwealth) welcomeAgain(x *killable) {
	c.t.Helper()
	again := 0
	waitUntil(c.t, "who came is known once more", func() (bool, error) {
		var coming moving.Arrivals
		if err := x.operator.View(c.t.Context(), "moving.arrivals", nil, &coming); err != nil {
			return false, err
		}
		known := map[string]bool{}
		for _, a := range coming.Arrivals {
			known[a.Person] = true
			if a.Stage != "waiting" {
				continue
			}
			again++
			code := fmt.Sprintf("AGAINX%c%c", 'A'+again/20%20, 'A'+again%20)
			for _, s := range c.souls {
				if s.home == x && s.id == moving.PersonOf(a.Circle, a.ID) {
					code = s.code
				}
			}
			err := command(c.t.Context(), x.operator, "moving.decide", moving.Decide{
				Circle: a.Circle, ID: a.ID, Yes: true, Name: machine.Text("", a.Name), Code: code,
			})
			if err != nil {
				return false, err
			}
		}
		var list member.People
		err := x.operator.View(c.t.Context(), "member.list", nil, &list)
		for _, p := range list.People {
			known[p.Person] = true
		}
		missing := slices.ContainsFunc(c.souls, func(s *soul) bool { return s.home == x && !known[s.id] })
		return !missing, err
	})
	c.t.Logf("%s said yes once more to %d", x.name, again)
}

// askAgain asks every request that was done, of those who still live where they did, once more, after all
// nodes were killed.
func (c *commonwealth) askAgain() {
	c.t.Helper()
	for _, x := range c.circles {
		x.kill()
		x.restart(c.t).waitReady(c.t)
	}
	asked := 0
	for _, p := range c.all {
		here := slices.ContainsFunc(c.souls, func(s *soul) bool { return s.client == p.by })
		if !here || p.told.refusal != nil { // for the moment only: see look
			continue
		}
		asked++
		again, err := untilAnswered(c.t.Context(), p.by, p.id, p.body)
		if err != nil {
			c.t.Fatal(err)
		}
		if again.paid != p.told.paid || again.answer.Position != p.told.answer.Position {
			c.t.Errorf("payment %s was answered %+v, then %+v", p.id, p.told, again)
		}
	}
	c.t.Logf("%d of %d requests asked once more", asked, len(c.all))
	c.balances()
}

// logs checks every circle's log by itself, and against the others'.
func (c *commonwealth) logs() {
	c.t.Helper()
	var logs []export.Checked
	for _, x := range c.circles {
		_, checked := x.checkedLog(c.t)
		if !checked.OK() || checked.Sum != 0 || checked.Circle != x.id {
			c.t.Errorf("the log of %s gives %+v", x.name, checked)
		}
		logs = append(logs, checked)
	}
	if found := export.Compare(logs); len(found) > 0 {
		c.t.Errorf("the logs differ: %v", found)
	}
}
