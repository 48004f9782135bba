// Command carecircle runs a circle's node and is its command line: make a circle, serve it, do commands and
// read views, export the books and check an exported log. "carecircle help" lists everything.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/machine"
)

// version is set when building.
var version = "unversioned"

// Exit codes, documented in the root command's help.
const (
	exitFailed  = 1 // could not be done
	exitUsage   = 2 // the call's words are off
	exitStopped = 3 // the node had to stop
	exitRefused = 4 // the circle's rules said no
	exitFound   = 5 // a check found something wrong
)

const about = `carecircle runs a circle of people who give and get support: its people, its Care Coins
(one coin is one hour freely given), and its exchange with other circles.

A circle of your own:   carecircle init --data DIR ... ; carecircle serve --data DIR
Kept by three machines: carecircle help replica
An example to look at:  carecircle demo

Exit codes: 0 done; 1 could not be done; 2 wrong words in the call; 3 the node had to stop;
4 refused by the circle's rules; 5 a check found something wrong.`

// usageError marks errors of the call itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// stoppedError is the error of a node that cannot go on with what is on its disk.
type stoppedError struct{ error }

func (e stoppedError) Unwrap() error { return e.error }

// foundError is the error of a check that found something.
type foundError struct{ count int }

func (e foundError) Error() string {
	if e.count == 1 {
		return "one thing is wrong"
	}
	return fmt.Sprintf("%d things are wrong", e.count)
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program as a function, so that scripts can test it.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "carecircle:", err) //nolint:errcheck // nowhere left to say it
	return exitCode(err)
}

func exitCode(err error) int {
	var refusal *machine.Error
	var usage usageError
	var found foundError
	var stopped stoppedError
	switch {
	case errors.As(err, &found):
		return exitFound
	case errors.As(err, &stopped):
		return exitStopped
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.As(err, &refusal):
		return exitRefused
	case errors.Is(err, machine.ErrStop):
		return exitStopped
	default:
		return exitFailed
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "carecircle", Short: "Run and use a care circle's node", Long: about, Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	root.AddCommand(
		initCommand(), serveCommand(), demoCommand(), doCommand(), viewCommand(), statusCommand(),
		linkCommand(),
		exportCommand(), verifyCommand(), logCommand(), backupCommand(), restoreCommand(),
		replicaCommand(), joinCommand(), scrubCommand(), keysCommand(), spaceCommand(), benchCommand(),
		simCommand(), clearingCommand(), federationCommand(), compareCommand(),
		kindsTopic(), versionCommand(),
	)
	return root
}

// exactly is cobra.ExactArgs with an error that says what to give: one of each.
func exactly(whats ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(whats) {
			return nil
		}
		return usageError{fmt.Errorf("give one %s; see: %s --help", strings.Join(whats, ", one "),
			c.CommandPath())}
	}
}

func atLeastOne(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return usageError{fmt.Errorf("give at least one file; see: %s --help", c.CommandPath())}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%q is one word too many; see: %s --help", args[0], c.CommandPath())}
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level %q: choose debug, info, warn or error", level)}
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "carecircle", version)
			return err
		},
	}
}
