package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/federation/clearing"
)

func clearingCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "clearing", Short: "Set off what circles owe each other in round loops", Args: noArgs,
		Long: "When one circle owes a second, the second a third, and the third the first, part of it can\n" +
			"be set off without changing what anyone owes or is owed in all. solve and check work on\n" +
			"files, with no node; begin and rounds are for the operator of the circles' hub.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(clearingSolveCommand(), clearingCheckCommand(), clearingBeginCommand(),
		clearingRoundsCommand())
	return c
}

func clearingSolveCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "solve FILE", Short: "Find the most that can be set off", Args: exactly("file, or - for stdin"),
		Long: "Reads a table with the columns debtor,creditor,minutes and prints by how many minutes each\n" +
			"debt can shrink so that the most is set off, and the sum of all debts before and after. Rows\n" +
			"between the same two circles count together. With -o json the labels that prove it are\n" +
			"printed as well, for \"clearing check\".",
		Example: "  carecircle clearing solve debts.csv -o json > proposal.json",
		RunE: func(c *cobra.Command, args []string) error {
			in, err := openInput(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			defer closeQuietly(in)
			all, err := clearing.ReadCSV(in)
			if err != nil {
				return fmt.Errorf("read %s: %w", args[0], err)
			}
			p, err := clearing.Solve(all)
			if err != nil {
				return err
			}
			if output == "json" {
				return show(c.OutOrStdout(), output, p)
			}
			if err := show(c.OutOrStdout(), output, p.Changes); err != nil || output == "csv" {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "\n%d minutes were owed, %d are after it.\n", p.GrossBefore,
				p.GrossAfter)
			return err
		},
	}
	outputFlag(c, &output)
	return c
}

func clearingCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Check that a proposal is right and that nothing better exists",
		Long: "Reads what \"clearing solve -o json\" printed and checks it, with none of the solver's\n" +
			"code. Exit code 5 when anything is wrong with it.",
		Args: exactly("file, or - for stdin"),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := openInput(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			defer closeQuietly(in)
			var p clearing.Proposal
			d := json.NewDecoder(in)
			d.DisallowUnknownFields()
			if err := d.Decode(&p); err != nil {
				return fmt.Errorf("%s is no proposal as \"clearing solve -o json\" prints: %w", args[0], err)
			}
			if _, err := d.Token(); err != io.EOF {
				return fmt.Errorf("%s has more in it than one proposal", args[0])
			}
			if err := clearing.Check(p); err != nil {
				if _, err := fmt.Fprintln(c.OutOrStdout(), "wrong:", err); err != nil {
					return err
				}
				return foundError{1}
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "right: of %d minutes owed %d can be set off, no more\n",
				p.GrossBefore, p.GrossBefore-p.GrossAfter)
			return err
		},
	}
}

// openInput opens a file, or standard input for "-".
func openInput(path string, stdin io.Reader) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(path)
}
