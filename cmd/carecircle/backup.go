package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

const backupLong = `Make a sealed backup of a circle, of a running node or of a stopped one. It goes into the
directory that the node's config names, or to --to FILE. It can be opened only with the
identity of one of the recipients in config.json: the circle's own and the co-op's escrow.

  "backup": {"recipients": ["age1...", "age1..."], "everyHours": 24, "keepDays": 35}

lets a running node make one each day, delete them after 35 days, and run a restore drill
each week. Keep identities away from the machines whose backups they open.`

func backupCommand() *cobra.Command {
	var conn connection
	var to string
	c := &cobra.Command{
		Use: "backup", Short: "Make, check and list sealed backups", Long: backupLong, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := backupPath(conn, to)
			if err != nil {
				return err
			}
			m, err := makeBackup(c, conn, path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: sealed, as of command %d in epoch %d, kept until %s\n",
				path, m.Position, m.Epochs.Newest().Epoch,
				time.UnixMilli(m.ExpiresAt).UTC().Format(time.DateOnly))
			return err
		},
	}
	conn.flags(c)
	c.Flags().StringVar(&to, "to", "", "file to write, ending in "+backup.Suffix+
		"; empty: a new one in the node's own directory of backups")
	c.AddCommand(backupKeygen(), backupVerify(), backupList(), backupDrill(), backupEvidence())
	return c
}

func backupPath(conn connection, to string) (string, error) {
	switch {
	case conn.data == "" && conn.url == "":
		return "", usageError{errors.New("say which node: --data DIR, or --node URL with --token-file FILE")}
	case to != "":
		return to, nil
	case conn.data == "":
		return "", usageError{errors.New("say where the backup goes: --to FILE" + backup.Suffix)}
	}
	k, err := node.BackupKeeper(conn.data)
	if err != nil {
		return "", err
	}
	return filepath.Join(k.Config.Dir, backup.Name(k.Circle, time.Now())), nil
}

// makeBackup fetches a backup from a running node, or makes one of a stopped node's directory.
func makeBackup(c *cobra.Command, conn connection, path string) (backup.Manifest, error) {
	client, err := conn.client()
	if err != nil {
		return backup.Manifest{}, err
	}
	progress := progressTo(c.ErrOrStderr())
	body, err := client.Patient().Send(c.Context(), "GET", "/api/v1/backup", nil)
	if err == nil {
		defer body.Close() //nolint:errcheck // read to its end
		return backup.WriteFile(c.Context(), path, func(w io.Writer) error {
			_, err := io.Copy(&counting{w: w, progress: progress}, body)
			return err
		})
	}
	var refusal *machine.Error
	if errors.As(err, &refusal) || conn.url != "" {
		return backup.Manifest{}, err
	}
	return backupStopped(c.Context(), conn.data, path, progress)
}

func backupStopped(ctx context.Context, dir, path string, progress func(int64)) (backup.Manifest, error) {
	n, err := node.OpenStopped(ctx, dir, node.Options{Version: version})
	if err != nil {
		return backup.Manifest{}, err
	}
	m, err := backup.WriteFile(ctx, path, func(w io.Writer) error {
		_, err := n.Backup(ctx, w, progress)
		return err
	})
	return m, errors.Join(err, n.Close())
}

// counting tells how much has gone through.
type counting struct {
	w        io.Writer
	n        int64
	progress func(int64)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.progress(c.n)
	return n, err
}

// progressTo returns what says once a second how far a backup is.
func progressTo(w io.Writer) func(int64) {
	last := time.Now()
	return func(bytes int64) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(w, "%d MB written ...\n", bytes>>20) //nolint:errcheck // only for who watches
	}
}

func backupKeygen() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make an identity that opens backups, and print its recipient",
		Long: "Make an age identity file, which opens backups, and print its recipient, which goes into\n" +
			"config.json. Keep the file away from the machine: who has it can read every backup.",
		Args: exactly("file to make"),
		RunE: func(c *cobra.Command, args []string) error {
			recipient, err := backup.Keygen(args[0], time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), recipient)
			return err
		},
	}
}

func backupVerify() *cobra.Command {
	var identity, output string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Check a backup without restoring it", Args: exactly("backup"),
		Long: "Check a backup. Without an identity: that it is whole, unchanged and signed by its circle.\n" +
			"With one: it is opened, its state rebuilt in memory, its journal checked and replayed from\n" +
			"empty, and its books audited. Exit code 5: something is wrong with it.",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := identityOf(identity)
			if err != nil {
				return err
			}
			r, err := backup.Verify(c.Context(), args[0], id)
			if err != nil {
				return err
			}
			if err := showReport(c.OutOrStdout(), output, r); err != nil {
				return err
			}
			if wrong := r.Wrong(); wrong > 0 {
				return foundError{wrong}
			}
			return nil
		},
	}
	c.Flags().StringVar(&identity, "identity", "", "age identity file that opens it")
	outputFlag(c, &output)
	return c
}

func identityOf(path string) (backup.Identity, error) {
	if path == "" {
		return nil, nil
	}
	return backup.ReadIdentity(path)
}

func showReport(w io.Writer, output string, r backup.Report) error {
	if output != "table" {
		return show(w, output, r)
	}
	m := r.Manifest
	if m.Circle != "" {
		//nolint:errcheck // below
		fmt.Fprintf(w, "%s: circle %s, as of command %d in epoch %d, made %s\n", r.File, m.Circle, m.Position,
			m.Epochs.Newest().Epoch, time.UnixMilli(m.MadeAt).UTC().Format(time.RFC3339))
	}
	for _, c := range r.Checks {
		word := "ok   "
		if !c.OK {
			word = "WRONG"
		}
		fmt.Fprintf(w, "  %s %s: %s\n", word, c.What, c.Found) //nolint:errcheck // below
	}
	end := "all is well"
	switch {
	case r.Wrong() > 0:
		end = "do not rely on this backup: make a new one"
	case !r.Full:
		end = "all is well, as far as it shows without an identity"
	}
	_, err := fmt.Fprintln(w, "  "+end)
	return err
}

// keeperFlags adds --data to a command about a node's directory of backups.
func keeperFlags(c *cobra.Command) func() (*backup.Keeper, error) {
	var conn connection
	conn.flags(c)
	for _, name := range []string{"node", "token-file"} {
		if err := c.Flags().MarkHidden(name); err != nil {
			panic(err) // no such flag: it was renamed
		}
	}
	return func() (*backup.Keeper, error) {
		if conn.data == "" {
			return nil, usageError{errors.New("say which node: --data DIR")}
		}
		return node.BackupKeeper(conn.data)
	}
}

func backupList() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "list", Short: "List a node's backups, and which can be restored", Args: noArgs}
	keeper := keeperFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		k, err := keeper()
		if err != nil {
			return err
		}
		list, err := k.List()
		if err != nil {
			return err
		}
		return show(c.OutOrStdout(), output, list)
	}
	outputFlag(c, &output)
	return c
}

func backupDrill() *cobra.Command {
	var identity string
	c := &cobra.Command{
		Use: "drill", Short: "Prove the newest backup and leave dated evidence", Args: noArgs,
		Long: "Check the newest backup as \"backup verify\" does, with --identity or the config's\n" +
			"drillIdentity, and leave dated evidence beside the backups. Exit code 5: it did not pass.",
	}
	keeper := keeperFlags(c)
	c.Flags().StringVar(&identity, "identity", "", "age identity file that opens it; empty: the config's")
	c.RunE = func(c *cobra.Command, _ []string) error {
		k, err := keeper()
		if err != nil {
			return err
		}
		if identity == "" {
			identity = k.Config.DrillIdentity
		}
		id, err := identityOf(identity)
		if err != nil {
			return err
		}
		d, err := k.Drill(c.Context(), id, time.Now())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.OutOrStdout(), d.Words); err != nil {
			return err
		}
		if !d.Passed {
			return foundError{backup.Report{Checks: d.Checks}.Wrong()}
		}
		return nil
	}
	return c
}

func backupEvidence() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "evidence", Short: "Print the dated evidence of restore drills", Args: noArgs}
	keeper := keeperFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		k, err := keeper()
		if err != nil {
			return err
		}
		drills, err := backup.ReadDrills(k.Config.Dir)
		if err != nil {
			return err
		}
		if output != "table" {
			return show(c.OutOrStdout(), output, drills)
		}
		for _, d := range drills {
			if _, err := fmt.Fprintln(c.OutOrStdout(), d.Words); err != nil {
				return err
			}
		}
		return nil
	}
	outputFlag(c, &output)
	return c
}
