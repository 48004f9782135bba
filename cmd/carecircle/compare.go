package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/exchange"
)

// comparedRow is a payment in the table of "compare".
type comparedRow struct {
	Payment string `json:"payment"`
	Way     string `json:"way"`
	Here    string `json:"here"`
	There   string `json:"there"`
	Minutes int64  `json:"minutes"`
	Theirs  int64  `json:"minutesThere"`
}

func compareCommand() *cobra.Command {
	var n connection
	var output string
	c := &cobra.Command{
		Use: "compare CIRCLE", Short: "Compare the books with those of another circle, over the network",
		Args: exactly("id of the circle"),
		Long: "Asks the other circle for the payments between the two, and shows those that the two do\n" +
			"not both have as made: those on the way, and those that differ. Exit code 5 if the books\n" +
			"differ. \"verify\" checks exported logs with nothing but the files.",
		Example: "  carecircle compare c2qg... --data DIR",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			var got exchange.Comparison
			path := "/api/v1/compare/" + url.PathEscape(args[0])
			err = client.Call(c.Context(), http.MethodGet, path, nil, &got)
			if err != nil {
				return err
			}
			if err := showComparison(c, output, got); err != nil {
				return err
			}
			if !got.Agree {
				return foundError{max(1, len(got.Differ))}
			}
			return nil
		},
	}
	n.flags(c)
	outputFlag(c, &output)
	return c
}

func showComparison(c *cobra.Command, output string, got exchange.Comparison) error {
	if output == "json" {
		return show(c.OutOrStdout(), output, got)
	}
	rows := []comparedRow{}
	for _, d := range append(got.Differ, got.OnTheWay...) {
		way := "out"
		if d.Incoming {
			way = "in"
		}
		rows = append(rows, comparedRow{
			Payment: d.Payment.String(), Way: way, Here: d.Here, There: d.There, Minutes: d.Minutes,
			Theirs: d.MinutesThere,
		})
	}
	if len(rows) > 0 || output == "csv" {
		if err := show(c.OutOrStdout(), output, rows); err != nil {
			return err
		}
	}
	if output == "csv" {
		return nil
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%d payments with %s are the same in both books; %d are on the"+
		" way, %d differ. By our books we owe %d minutes, by theirs they owe %d.\n", got.Same, got.Name,
		len(got.OnTheWay), len(got.Differ), got.Owes, got.OwesThere)
	return err
}
