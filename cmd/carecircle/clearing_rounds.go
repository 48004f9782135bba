package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/netting"
)

func clearingBeginCommand() *cobra.Command {
	var n connection
	var gather, answer time.Duration
	c := &cobra.Command{
		Use: "begin", Short: "Begin a round of setting off, at the hub", Args: noArgs,
		Long: "Has the hub ask all circles how they stand with each other, find the most that can be set\n" +
			"off, and put it to those in it. It is done when all of them have agreed; without those who\n" +
			"decline, or do not answer in time, it is tried once more. See how it goes with\n" +
			"\"clearing rounds\".",
		Example: "  carecircle clearing begin --data DIR --answer 168h",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			_, err = client.Do(c.Context(), "", "", "netting.open", netting.Open{
				GatherSeconds: int64(gather.Seconds()), AnswerSeconds: int64(answer.Seconds()),
			}, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(),
				"The circles are asked how they stand. See: carecircle clearing rounds")
			return err
		},
	}
	n.flags(c)
	c.Flags().DurationVar(&gather, "gather", time.Minute, "how long to wait for the circles' positions")
	c.Flags().DurationVar(&answer, "answer", 7*24*time.Hour, "how long to wait for their answers")
	return c
}

// roundRow is a round in the table of "clearing rounds".
type roundRow struct {
	Begun   string `json:"begun"`
	Stage   string `json:"stage"`
	Before  int64  `json:"grossBefore"`
	After   int64  `json:"grossAfter"`
	Answers string `json:"answers"`
	Left    string `json:"leftOut"`
}

func clearingRoundsCommand() *cobra.Command {
	var n connection
	var output string
	c := &cobra.Command{
		Use: "rounds", Short: "Show the rounds of the hub, newest first", Args: noArgs,
		Long: "Shows each round with its stage (gathering, proposed, cleared, dropped, or nothing to set\n" +
			"off), the minutes owed among all before and after it, and who has answered what.",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			var all netting.Calls
			if err := client.View(c.Context(), "netting.calls", nil, &all); err != nil {
				return err
			}
			if output == "json" {
				return show(c.OutOrStdout(), output, all)
			}
			rows := []roundRow{}
			for _, r := range all.Calls {
				var answers []string
				for _, a := range r.Answers {
					answers = append(answers, a.Name+" "+a.Answer)
				}
				rows = append(rows, roundRow{
					Begun: when(r.Number), Stage: r.Stage, Before: r.Before, After: r.After,
					Answers: strings.Join(answers, ", "), Left: strings.Join(r.Left, ", "),
				})
			}
			return show(c.OutOrStdout(), output, rows)
		},
	}
	n.flags(c)
	outputFlag(c, &output)
	return c
}

// when puts a round's number, the time it began, in words.
func when(number uint64) string {
	return time.UnixMilli(int64(number)).UTC().Format(time.RFC3339) //nolint:gosec // from our own node
}
