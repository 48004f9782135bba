package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/export"
)

func exportCommand() *cobra.Command {
	var conn connection
	var format string
	c := &cobra.Command{
		Use: "export", Short: "Write the coin book or the signed log", Args: noArgs,
		Long: "Write the coin book for accounting programs (hledger, beancount, csv), or the signed log" +
			" that\n" +
			"\"carecircle verify\" checks. With --data alone the node may be stopped; with --node it is" +
			" running.",
		RunE: func(c *cobra.Command, _ []string) error {
			if !knownFormat(format) {
				return usageError{fmt.Errorf("--format %q: choose one of %s", format,
					strings.Join(export.Formats, ", "))}
			}
			if conn.url == "" && conn.data == "" {
				return usageError{errors.New("say which node: --data DIR, or --node URL with --token-file" +
					" FILE")}
			}
			client, err := conn.client()
			if err != nil {
				return err
			}
			body, err := client.Send(c.Context(), "GET", "/api/v1/export/"+format, nil)
			if err == nil {
				defer body.Close() //nolint:errcheck // read to its end
				_, err = io.Copy(c.OutOrStdout(), body)
				return err
			}
			var refusal *machine.Error
			if errors.As(err, &refusal) || conn.url != "" {
				return err
			}
			return exportStopped(c.Context(), c.OutOrStdout(), conn.data, format)
		},
	}
	conn.flags(c)
	c.Flags().StringVar(&format, "format", "log", "one of "+strings.Join(export.Formats, ", "))
	return c
}

func knownFormat(format string) bool {
	for _, f := range export.Formats {
		if f == format {
			return true
		}
	}
	return false
}

// exportStopped reads the directory of a node that is not running.
func exportStopped(ctx context.Context, w io.Writer, dir, format string) error {
	n, err := node.OpenStopped(ctx, dir, node.Options{Version: version})
	if err != nil {
		return err
	}
	return errors.Join(n.Export(w, format), n.Close())
}

func verifyCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "verify FILE ...", Short: "Check exported logs", Args: atLeastOne,
		Long: "Check exported logs with nothing but the files: every entry unchanged and in its place," +
			" signed for by\n" +
			"its circle; then a replay from empty that checks the books, the letters' signatures and the" +
			" accounts\n" +
			"for other circles. Several files are also checked against each other.",
		RunE: func(c *cobra.Command, args []string) error {
			var logs []export.Checked
			found := 0
			for _, path := range args {
				checked, err := verifyFile(path)
				if err != nil {
					return err
				}
				logs = append(logs, checked)
				found += len(checked.Findings)
			}
			across := export.Compare(logs)
			found += len(across)
			if err := showChecked(c.OutOrStdout(), output, args, logs, across); err != nil {
				return err
			}
			if found > 0 {
				return foundError{found}
			}
			return nil
		},
	}
	outputFlag(c, &output)
	return c
}

func verifyFile(path string) (export.Checked, error) {
	f, err := os.Open(path)
	if err != nil {
		return export.Checked{}, fmt.Errorf("verify: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return export.Verify(f)
}

func showChecked(
	w io.Writer, output string, paths []string, logs []export.Checked, across []export.Finding,
) error {
	if output != "table" {
		return show(w, output, struct {
			Logs   []export.Checked `json:"logs"`
			Across []export.Finding `json:"across"`
		}{logs, across})
	}
	for i, l := range logs {
		//nolint:errcheck
		fmt.Fprintf(w, "%s: %s (%s): %d commands, %d done, %d refused; %d entries in %d accounts, sum %d\n",
			paths[i], l.Name, l.Circle, l.Commands, l.Done, l.Refused, l.Entries, l.Accounts, l.Sum)
		for _, m := range l.Mirrors {
			//nolint:errcheck
			fmt.Fprintf(w, "  account of %s: %d minutes, letters agree: %t\n", m.Name, m.BookMinutes,
				m.BookMinutes == m.LetterMinutes)
		}
		for _, f := range l.Findings {
			fmt.Fprintf(w, "  WRONG, line %d: %s\n", f.Line, f.Text) //nolint:errcheck // below
		}
		if l.OK() {
			fmt.Fprintln(w, "  all is well") //nolint:errcheck // below
		}
	}
	for _, f := range across {
		fmt.Fprintf(w, "WRONG across: %s\n", f.Text) //nolint:errcheck // below
	}
	_, err := fmt.Fprint(w)
	return err
}

func logCommand() *cobra.Command {
	parent := &cobra.Command{Use: "log", Short: "Look at the circle's log"}
	var dir, output string
	var from uint64
	var limit int
	var master masterFlags
	c := &cobra.Command{
		Use: "show", Short: "Print logged commands of a stopped node, without their bodies' personal" +
			" parts", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("say which node: --data DIR")}
			}
			n, err := node.OpenStopped(c.Context(), dir, node.Options{
				Version: version, Master: master.source(c),
			})
			if err != nil {
				return err
			}
			entries, err := readEntries(n, from, limit)
			if err := errors.Join(err, n.Close()); err != nil {
				return err
			}
			return show(c.OutOrStdout(), output, entries)
		},
	}
	c.Flags().StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"), "the node's directory [CARECIRCLE_DATA]")
	c.Flags().Uint64Var(&from, "from", 1, "position of the first command")
	c.Flags().IntVar(&limit, "limit", 100, "how many at most")
	master.add(c)
	outputFlag(c, &output)
	parent.AddCommand(c)
	return parent
}

// logged is a command as log show prints it.
type logged struct {
	Position uint64       `json:"position"`
	At       string       `json:"at"`
	Kind     string       `json:"kind"`
	Actor    string       `json:"actor"`
	For      string       `json:"for,omitempty"`
	ID       string       `json:"id"`
	Bytes    int          `json:"bytes"`
	Head     machine.Hash `json:"head"`
}

func readEntries(n *node.Node, from uint64, limit int) ([]logged, error) {
	out := []logged{}
	err := n.Read(func(r machine.Reader) error {
		var head machine.Hash
		var failed error
		machine.Journal(r, 1, func(position uint64, raw []byte) bool {
			head = machine.ChainHash(head, raw)
			if position < from {
				return true
			}
			command, err := machine.DecodeCommand(raw)
			if err != nil {
				failed = err
				return false
			}
			out = append(out, logged{
				Position: position, At: time.UnixMilli(command.At).UTC().Format(time.RFC3339),
				Kind:  command.Kind,
				Actor: command.Actor, For: command.OnBehalfOf, ID: command.ID.String(), Bytes: len(raw),
				Head: head,
			})
			return len(out) < limit
		})
		return failed
	})
	return out, err
}
