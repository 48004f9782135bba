package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/carecircle/carecircle/node"
)

// demoCircle is one node of the demo federation.
type demoCircle struct {
	dir     string
	config  node.Config
	people  []demoPerson
	founder string
}

func demoCommand() *cobra.Command {
	var dir, output, level string
	var once bool
	c := &cobra.Command{
		Use: "demo", Short: "Run an example federation: a hub and two circles", Args: noArgs,
		Long: "Run the hub, Hebden Bridge and Blackshaw Head as three full nodes on this machine, play" +
			" invented people\n" +
			"and their coin story through the public API, and stay up for you to look around.",
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := newLogger(c.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			d := &demo{dir: dir, log: log, progress: c.ErrOrStderr(), once: once}
			return d.run(c.Context(), c.OutOrStdout(), output)
		},
	}
	c.Flags().StringVar(&dir, "data", "", "keep one directory per node here; empty: a temporary one")
	c.Flags().BoolVar(&once, "once", false, "play the story, print the result and exit")
	c.Flags().StringVar(&level, "log-level", "error", "what to log: debug, info, warn or error")
	outputFlag(c, &output)
	return c
}

// demo is the three nodes and what was played on them.
type demo struct {
	dir      string
	log      *slog.Logger
	progress io.Writer
	once     bool
	nodes    []*node.Node
	hub      *player
	hb, bh   *player
	bar      *mpb.Bar
}

func (d *demo) run(ctx context.Context, out io.Writer, output string) (err error) {
	if output != "table" && output != "json" && output != "csv" {
		return usageError{fmt.Errorf("-o %q: choose table, json or csv", output)}
	}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "carecircle-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	defer func() { err = errors.Join(err, d.close()) }()
	bars := mpb.New(mpb.WithOutput(d.progress))
	d.bar = bars.AddBar(demoSteps(), mpb.PrependDecorators(decor.Name("playing the coin story ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")))
	result, err := d.play(ctx)
	d.bar.Abort(true) // takes the bar away, however far it came
	bars.Wait()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := showDemo(out, output, result); err != nil {
		return err
	}
	if d.once {
		return nil
	}
	if err := d.welcome(ctx, out); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// open starts one node of the demo, made on the first start.
func (d *demo) open(ctx context.Context, c demoCircle) (*player, error) {
	dir := filepath.Join(d.dir, c.dir)
	if _, err := node.ReadConfig(dir); err != nil {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return nil, err
		}
		c.config.Founder = c.founder
		if c.config.HTTP, err = freeAddress(); err != nil {
			return nil, err
		}
		letters, err := freeAddress()
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(letters)
		if err != nil {
			return nil, err
		}
		c.config.Letters = []string{"/ip4/127.0.0.1/tcp/" + port}
		if err := node.Init(dir, c.config); err != nil {
			return nil, err
		}
	}
	n, err := d.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	return newPlayer(d, n, c)
}

func (d *demo) start(ctx context.Context, dir string) (*node.Node, error) {
	n, err := node.Open(ctx, dir, node.Options{Log: d.log, Version: version})
	if err != nil {
		return nil, err
	}
	d.nodes = append(d.nodes, n)
	return n, nil
}

// stop ends one node, as if its machine were switched off.
func (d *demo) stop(n *node.Node) error {
	for i := range d.nodes {
		if d.nodes[i] == n {
			d.nodes = append(d.nodes[:i], d.nodes[i+1:]...)
			break
		}
	}
	return n.Close()
}

func (d *demo) close() error {
	var errs []error
	for _, n := range d.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// welcome says where the pages are and how to get in as some of the people.
func (d *demo) welcome(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "\nThe three nodes are up. Each link signs one person in, once:") //nolint:errcheck
	for _, p := range []*player{d.hb, d.bh, d.hub} {
		fmt.Fprintf(out, "\n%s  %s\n", p.node.Config.Name, p.node.Origin()) //nolint:errcheck
		for _, who := range p.circle.people {
			if !who.shown {
				continue
			}
			link, err := makeLink(ctx, p.node, p.ids[who.name])
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  %-8s %-44s %s\n", who.name, who.about, link) //nolint:errcheck
		}
	}
	_, err := fmt.Fprintln(out, "\nStop with Ctrl-C.")
	return err
}
