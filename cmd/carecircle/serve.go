package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

const linkLife = 7 * 24 * time.Hour

func initCommand() *cobra.Command {
	var dir string
	var cfg node.Config
	var shared node.ReplicaConfig
	var master masterFlags
	c := &cobra.Command{
		Use: "init", Short: "Make a new circle's node in a directory", Args: noArgs,
		Example: `  carecircle init --data hb --name "Hebden Bridge" --place "Hebden Bridge" \
    --aim "Neighbours giving and getting support on terms they choose" --founder Farida`,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("say where: --data DIR")}
			}
			if shared != (node.ReplicaConfig{}) {
				shared.ID = replicas.First
				cfg.Replica = &shared
			}
			if master.given() {
				return initSealed(c, dir, cfg, &master)
			}
			if err := node.Init(dir, cfg); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "Made the node of %s in %s.\n"+
				"Keep its *.key files and operator.token private, and a copy of them safe.\n"+
				"Next: carecircle serve --data %s\n", cfg.Name, dir, dir)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"), "the directory, empty or new [CARECIRCLE_DATA]")
	f.StringVar(&cfg.Name, "name", "", "what the circle is called")
	f.StringVar(&cfg.Place, "place", "", "where it is")
	f.StringVar(&cfg.Aim, "aim", "", "what it is for")
	f.StringVar(&cfg.Founder, "founder", "", "name of the first person, who invites the others")
	f.StringVar(&cfg.HTTP, "http", "127.0.0.1:7001", "address for pages and API")
	f.StringVar(&cfg.Metrics, "metrics", "", "an address of its own for /metrics, /healthz and /readyz,"+
		" open to whoever reaches it, such as 127.0.0.1:7301; empty: none")
	f.StringVar(&cfg.Origin, "origin", "", "how people reach the pages; empty: http://localhost and the port")
	f.StringSliceVar(&cfg.Letters, "letters", []string{"/ip4/127.0.0.1/tcp/7101"},
		"addresses for letters from other circles")
	replicaFlags(c, &shared)
	master.add(c)
	master.addPassphrase(c)
	return c
}

// initSealed makes a node whose keys are sealed from the start.
func initSealed(c *cobra.Command, dir string, cfg node.Config, master *masterFlags) error {
	to, err := master.fresh(c)
	if err != nil {
		return err
	}
	if cfg.MasterKeyFile, err = absolute(master.file); err != nil {
		return err
	}
	if err := node.Init(dir, cfg); err != nil {
		return err
	}
	if err := node.SealKeys(dir, to); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "Made the node of %s in %s, its keys sealed. %s\n", cfg.Name, dir,
		master.advice())
	return err
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

func serveCommand() *cobra.Command {
	var dir, level, baseline string
	var master masterFlags
	c := &cobra.Command{
		Use: "serve", Short: "Run a circle's node", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("say which node: --data DIR")}
			}
			log, err := newLogger(c.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			slog.SetDefault(log) // for libraries that write to the standard logger
			p2p.LogTo(log.Handler())
			systemd, err := newService(log)
			if err != nil {
				return err
			}
			n, err := node.Open(c.Context(), dir, node.Options{
				Log: log, Version: version, Master: master.source(c), Baseline: baseline,
			})
			if node.StorageFailed(err) {
				return stoppedError{err}
			}
			if err != nil {
				return err
			}
			if err := greet(c, n); err != nil {
				return errors.Join(err, n.Close())
			}
			debug.FreeOSMemory() // starting reads the whole log; serving needs little of that memory again
			err = systemd.attend(c.Context(), n)
			err = errors.Join(err, n.Stop(context.WithoutCancel(c.Context())))
			if node.StorageFailed(err) {
				return stoppedError{err}
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"), "the node's directory [CARECIRCLE_DATA]")
	c.Flags().StringVar(&level, "log-level", "info", "what to log: debug, info, warn or error")
	c.Flags().StringVar(&baseline, "baseline", "", "for \"bench ledger --baseline\" only")
	if err := c.Flags().MarkHidden("baseline"); err != nil {
		panic(err) // it was added just now
	}
	master.add(c)
	return c
}

// greet says where the pages are, and hands the founder a way in until they have used one.
func greet(c *cobra.Command, n *node.Node) error {
	w := c.OutOrStdout()
	if _, err := fmt.Fprintf(w, "%s is at %s\n", n.Config.Name, n.Origin()); err != nil {
		return err
	}
	founder := n.Founder()
	var joined bool
	var name string
	err := n.Read(func(r machine.Reader) error {
		p, ok := member.Find(r, founder)
		joined = !ok || p.Status != member.Invited
		by := machine.Caller{Actor: machine.ActorOperator}
		name = member.NameFor(n.Machine().Opened(machine.Read{Reader: r, Caller: by}), founder)
		return nil
	})
	if err != nil || joined {
		return err
	}
	link, err := makeLink(c.Context(), n, founder)
	var refusal *machine.Error
	if errors.As(err, &refusal) {
		_, err = fmt.Fprintf(w, "No sign-in link for %s yet: %s\n", name, refusal.Message)
		return err
	}
	if err != nil { // the circle may not be able to decide just now: its node runs all the same
		_, err = fmt.Fprintf(w, "No sign-in link for %s just now. To make one: carecircle link %s\n",
			name, founder)
		return err
	}
	_, err = fmt.Fprintf(w, "First sign-in of %s, once, within 7 days: %s\n", name, link)
	return err
}

// makeLink readies a one-time sign-in link, inside the node's own process.
func makeLink(ctx context.Context, n *node.Node, person string) (string, error) {
	secret, hash, err := auth.NewSecret()
	if err != nil {
		return "", err
	}
	id, err := api.NewID()
	if err != nil {
		return "", err
	}
	command, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorOperator}, 0, "member.link",
		member.Link{Person: person, Link: hash, Until: time.Now().Add(linkLife).UnixMilli()})
	if err != nil {
		return "", err
	}
	out, err := n.Do(ctx, command)
	if err != nil {
		return "", err
	}
	if out.Refusal != nil {
		return "", out.Refusal
	}
	return n.Origin() + "/enter/" + secret, nil
}

func linkCommand() *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use: "link PERSON", Short: "Make a one-time sign-in link for a member", Args: exactly("person's id"),
		Long: "Make a one-time sign-in link. The ids of members: carecircle view member.list --data DIR.",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := conn.client()
			if err != nil {
				return err
			}
			secret, hash, err := auth.NewSecret()
			if err != nil {
				return err
			}
			body := member.Link{Person: args[0], Link: hash, Until: time.Now().Add(linkLife).UnixMilli()}
			if _, err := client.Do(c.Context(), "", "", "member.link", body, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s/enter/%s\n", client.Base(), secret)
			return err
		},
	}
	conn.flags(c)
	return c
}
