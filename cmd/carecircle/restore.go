package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

const restoreLong = `Make a new node of a backup, in an empty directory, when a circle's machines are lost.
It has new keys for this machine, and another operator's token; the circle is as it was at the
backup, and a new epoch of it begins with its first "serve". The circle's other machines are
no part of it any more: with --listen and --gossip, new ones can join.

Do not restore while more than half of the circle's machines run or can be started: let a new
one join them instead ("carecircle replica --help"). They have what the backup lacks.

All backups and notes beside FILE, and those in --known, are asked which timelines there
are: a backup of one that the circle has left is refused. A signed note of the restore stays
beside FILE; keep it there.`

func restoreCommand() *cobra.Command {
	var identity, http, origin string
	var letters []string
	var shared node.ReplicaConfig
	r := node.Restoring{}
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a new node of a backup", Long: restoreLong, Args: exactly("backup"),
		Example: "  carecircle restore cabc-20260301T020000Z.ccbackup --identity escrow.key --data hb",
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if identity == "" || r.Dir == "" {
			return usageError{errors.New("say what opens it and where it goes: --identity FILE --data DIR")}
		}
		var err error
		if r.Identity, err = backup.ReadIdentity(identity); err != nil {
			return err
		}
		r.File, r.Now = args[0], time.Now()
		r.Log = func(format string, args ...any) {
			fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) //nolint:errcheck // only for who watches
		}
		r.Change = func(cfg *node.Config) {
			if http != "" {
				cfg.HTTP = http
			}
			if c.Flags().Changed("origin") {
				cfg.Origin = origin
			}
			if c.Flags().Changed("letters") {
				cfg.Letters = letters
			}
			if shared != (node.ReplicaConfig{}) {
				cfg.Replica = &shared
			}
		}
		done, err := node.Restore(c.Context(), r)
		if err != nil {
			return err
		}
		return sayRestored(c, r, done)
	}
	f := c.Flags()
	f.StringVar(&identity, "identity", "", "age identity file of one of the backup's recipients")
	f.StringVar(&r.Dir, "data", os.Getenv("CARECIRCLE_DATA"), "the new directory [CARECIRCLE_DATA]")
	f.StringArrayVar(&r.Known, "known", nil, "other places with backups and notes: a file or a directory")
	f.StringVar(&r.Why, "why", "", "why the books are put back, for everybody in the circle")
	f.StringVar(&http, "http", "", "address for pages and API; empty: as in the backup")
	f.StringVar(&origin, "origin", "", "how people reach the pages; not given: as in the backup")
	f.StringSliceVar(&letters, "letters", nil, "addresses for letters; not given: as in the backup")
	replicaFlags(c, &shared)
	return c
}

func sayRestored(c *cobra.Command, r node.Restoring, done node.Restored) error {
	m := done.Manifest
	at := time.UnixMilli(m.MadeAt).UTC().Format(time.RFC3339)
	_, err := fmt.Fprintf(c.OutOrStdout(), "Restored %s into %s, as of command %d on %s.\n"+
		"Epoch %d begins with its first start. The note of it: %s (keep it there).\n"+
		"Whatever was done after that backup has to be done again.\n"+
		"Next: carecircle serve --data %s; then give the other circles your new card.\n",
		done.Config.Name, r.Dir, m.Position, at, done.Note.Epochs.Newest().Epoch, done.NotePath, r.Dir)
	return err
}
