package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
)

// takePart has every circle agree to whatever sets off what it owes.
func (c *commonwealth) takePart() {
	c.t.Helper()
	for _, x := range c.circles {
		x.do(c.t, x.operator, "netting.consent", netting.Consent{When: netting.WhenAlways}, nil)
	}
}

// beginRound has the hub begin to set off what circles owe each other, if nothing is open.
func (c *commonwealth) beginRound(ctx context.Context) error {
	_, err := c.office.operator.Do(ctx, "", "", "netting.open", netting.Open{
		GatherSeconds: 5, AnswerSeconds: 10,
	}, nil)
	var refused *machine.Error
	if errors.As(err, &refused) { // one is open still
		return nil
	}
	return err
}

// openRounds says which rounds have no outcome yet, at the hub or at a circle.
func (c *commonwealth) openRounds(ctx context.Context) (open string, err error) {
	var all netting.Calls
	if err := c.office.operator.View(ctx, "netting.calls", nil, &all); err != nil {
		return "", err
	}
	c.cleared = 0
	due := map[string]int{} // rounds that were cleared, by the name of a circle in it
	for _, call := range all.Calls {
		switch call.Stage {
		case "cleared":
			c.cleared++
			for _, a := range call.Answers {
				due[a.Name]++
			}
		case "gathering", "proposed":
			open += fmt.Sprintf("round %d is %s\n", call.Number, call.Stage)
		}
	}
	for _, x := range c.circles {
		var mine netting.Rounds
		if err := x.operator.View(ctx, "netting.rounds", nil, &mine); err != nil {
			return "", err
		}
		for _, r := range mine.Rounds {
			if r.Stage == "cleared" {
				due[x.name]--
			}
			if r.Stage == "agreed" || r.Stage == "waiting" {
				open += fmt.Sprintf("round %d is %s at %s\n", r.Number, r.Stage, x.name)
			}
		}
		if due[x.name] > 0 { // put back to an older copy, or not told yet
			open += fmt.Sprintf("%s has not heard of %d rounds\n", x.name, due[x.name])
		}
	}
	return open, nil
}
