package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node"
)

func replicaCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "replica", Short: "The machines that keep a circle's books", Args: noArgs,
		Long: `A circle's books are kept by one machine, or by three or five. With three, any one may burn,
lie or be switched off, and the circle goes on; with five, any two.

  on the first machine:   carecircle replica invite --data DIR
  on each further one:    carecircle join INVITATION --data DIR --listen IP:PORT --gossip IP:PORT
                          carecircle serve --data DIR
  how they do:            carecircle replica list --data DIR
  one is lost for good:   carecircle replica remove ID --data DIR

The first machine needs --listen and --gossip too, at "init". Any of them takes any command and reads what
the others answered. To replace the program, stop, install and start one after the other.`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(replicaInvite(), replicaList(), replicaRemove())
	return c
}

func replicaInvite() *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use: "invite", Short: "Let one more machine keep the books",
		Long: "Prints an invitation, good once and for an hour. Whoever has it can become a replica of\n" +
			"the circle and read all of its books: hand it over as you would a key.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := conn.client()
			if err != nil {
				return err
			}
			var answer struct {
				Invitation string `json:"invitation"`
			}
			err = client.Call(c.Context(), http.MethodPost, "/api/v1/replicas/invite", []byte("{}"), &answer)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), answer.Invitation)
			return err
		},
	}
	conn.flags(c)
	return c
}

func replicaList() *cobra.Command {
	var conn connection
	var output string
	c := &cobra.Command{
		Use: "list", Short: "How each of the circle's machines does", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := conn.client()
			if err != nil {
				return err
			}
			var all []node.Standing
			if err := client.Call(c.Context(), http.MethodGet, "/api/v1/replicas", nil, &all); err != nil {
				return err
			}
			if output == "table" {
				return writeTable(c.OutOrStdout(), standingRows(all))
			}
			return show(c.OutOrStdout(), output, all)
		},
	}
	conn.flags(c)
	outputFlag(c, &output)
	return c
}

func replicaRemove() *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use: "remove ID", Short: "Have a machine keep the circle's books no longer",
		Args: exactly("replica's id"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := conn.client()
			if err != nil {
				return err
			}
			_, err = client.Do(c.Context(), "", "", "replicas.remove", replicas.Named{ID: args[0]}, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s keeps the books no longer. Erase its disk: its copy is"+
				" sealed, but its keys are on it.\n", args[0])
			return err
		},
	}
	conn.flags(c)
	return c
}

func joinCommand() *cobra.Command {
	var dir string
	cfg := node.Config{Replica: &node.ReplicaConfig{}}
	c := &cobra.Command{
		Use: "join INVITATION", Short: "Make this machine a further replica of a circle",
		Args: exactly("invitation, as carecircle replica invite prints it"),
		Example: `  carecircle join ccjoin1.eyJ... --data hb2 --listen 10.0.0.2:7201 --gossip 10.0.0.2:7202
  carecircle serve --data hb2`,
		RunE: func(c *cobra.Command, args []string) error {
			if dir == "" {
				return usageError{errors.New("say where: --data DIR, empty or new")}
			}
			cfg.Replica.ID = "new"
			if err := cfg.Replica.Check(); err != nil {
				return usageError{err}
			}
			began := time.Now()
			made, err := node.Join(c.Context(), dir, args[0], cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "This machine is replica %s of %s (%v).\n"+
				"Next: carecircle serve --data %s\n"+
				"It then fetches the books; when it has them it counts: carecircle replica list --data %s\n",
				made.Replica.ID, made.Name, time.Since(began).Round(time.Millisecond), dir, dir)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"), "the directory, empty or new [CARECIRCLE_DATA]")
	f.StringVar(&cfg.HTTP, "http", "127.0.0.1:7001", "address for pages and API")
	f.StringVar(&cfg.Origin, "origin", "", "how people reach the pages; empty: http://localhost and the port")
	f.StringVar(&cfg.Metrics, "metrics", "", "an address of its own for /metrics, /healthz and /readyz;"+
		" empty: none")
	f.StringSliceVar(&cfg.Letters, "letters", []string{"/ip4/127.0.0.1/tcp/7101"},
		"addresses for letters from other circles")
	replicaFlags(c, cfg.Replica)
	return c
}

func replicaFlags(c *cobra.Command, r *node.ReplicaConfig) {
	f := c.Flags()
	f.StringVar(&r.Listen, "listen", "", "IP address and port for the circle's other replicas; for libp2p a"+
		" multiaddr, such as /ip4/10.0.0.1/udp/7201/quic-v1")
	f.StringVar(&r.Gossip, "gossip", "", "IP address and port for their gossip, TCP and UDP; libp2p can do"+
		" without")
	f.StringVar(&r.Transport, "transport", "", "what carries their streams, the same for all: tcp or libp2p;"+
		" empty: tcp")
	f.StringVar(&r.Advertise, "advertise", "", "where the others reach --listen, if that is elsewhere")
	f.StringVar(&r.AdvertiseGossip, "advertise-gossip", "", "where they reach --gossip, if that is elsewhere")
}
