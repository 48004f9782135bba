package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

// connection says which node to speak to, and as whom.
type connection struct {
	data  string
	url   string
	token string
}

func (n *connection) flags(c *cobra.Command) {
	c.Flags().StringVar(&n.data, "data", os.Getenv("CARECIRCLE_DATA"),
		"directory of a node on this machine: speak to it as its operator [CARECIRCLE_DATA]")
	c.Flags().StringVar(&n.url, "node", os.Getenv("CARECIRCLE_NODE"),
		"address of a node, such as http://127.0.0.1:7001 [CARECIRCLE_NODE]")
	c.Flags().StringVar(&n.token, "token-file", os.Getenv("CARECIRCLE_TOKEN_FILE"),
		"file with the token of your session [CARECIRCLE_TOKEN_FILE]")
}

func (n *connection) client() (*api.Client, error) {
	base, token := n.url, ""
	if n.data != "" {
		cfg, err := node.ReadConfig(n.data)
		if err != nil {
			return nil, err
		}
		if base == "" {
			base = "http://" + cfg.HTTP
		}
		if token, err = node.OperatorToken(n.data); err != nil {
			return nil, err
		}
	}
	if base == "" {
		return nil, usageError{errors.New("say which node: --data DIR, or --node URL with --token-file FILE")}
	}
	if n.token != "" {
		raw, err := os.ReadFile(n.token)
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		token = strings.TrimSpace(string(raw))
	}
	return api.NewClient(base, token), nil
}

func doCommand() *cobra.Command {
	var n connection
	var body, id, onBehalfOf, output string
	c := &cobra.Command{
		Use: "do KIND", Short: "Do a command", Args: exactly("kind of command"),
		Long: "Do a command of the circle. The list of kinds: carecircle help kinds.\n" +
			"To be sure that it is done once, choose an --id (a UUID) and repeat the call with it.",
		Example: `  carecircle do coin.welcome --data DIR --body '{"person":"p..."}'`,
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := readBody(c.InOrStdin(), body)
			if err != nil {
				return err
			}
			client, err := n.client()
			if err != nil {
				return err
			}
			answer, err := client.Do(c.Context(), id, onBehalfOf, args[0], raw, new(any))
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), output, answer)
		},
	}
	n.flags(c)
	c.Flags().StringVar(&body, "body", "{}", "the command's body as JSON; @FILE reads a file, - standard"+
		" input")
	c.Flags().StringVar(&id, "id", "", "the request's id, a UUID; empty: a new one")
	c.Flags().StringVar(&onBehalfOf, "for", "", "id of the person you act for")
	outputFlag(c, &output)
	return c
}

func readBody(in io.Reader, body string) (json.RawMessage, error) {
	raw := []byte(body)
	var err error
	switch {
	case body == "-":
		raw, err = io.ReadAll(io.LimitReader(in, api.MaxBodyBytes+1))
	case strings.HasPrefix(body, "@"):
		raw, err = os.ReadFile(body[1:])
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if !json.Valid(raw) {
		return nil, usageError{errors.New(`the body is not JSON, such as '{"minutes":60}'`)}
	}
	return raw, nil
}

func viewCommand() *cobra.Command {
	var n connection
	var onBehalfOf, output string
	c := &cobra.Command{
		Use: "view NAME [PARAMETER=VALUE ...]", Short: "Read a view", Args: cobra.ArbitraryArgs,
		Long: "Read a view of the circle. The list of views: carecircle help kinds.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("say which view; the list: carecircle help kinds")}
			}
			query := url.Values{}
			for _, arg := range args[1:] {
				name, value, ok := strings.Cut(arg, "=")
				if !ok {
					return usageError{fmt.Errorf("%q is not of the form PARAMETER=VALUE", arg)}
				}
				query.Add(name, value)
			}
			if onBehalfOf != "" {
				query.Set("onBehalfOf", onBehalfOf)
			}
			client, err := n.client()
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := client.View(c.Context(), args[0], query, &answer); err != nil {
				return err
			}
			return show(c.OutOrStdout(), output, answer)
		},
	}
	n.flags(c)
	c.Flags().StringVar(&onBehalfOf, "for", "", "id of the person you act for")
	outputFlag(c, &output)
	return c
}

// kindsTopic is "carecircle help kinds": every command and view, from the rules themselves.
func kindsTopic() *cobra.Command {
	topic := &cobra.Command{Use: "kinds", Short: "The list of commands and views", Args: noArgs}
	var output string
	topic.RunE = func(c *cobra.Command, _ []string) error {
		m, err := circle.New()
		if err != nil {
			return err
		}
		if output != "table" {
			return show(c.OutOrStdout(), output, api.ListKinds(m))
		}
		return showKinds(c.OutOrStdout(), m)
	}
	outputFlag(topic, &output)
	topic.SetHelpFunc(func(c *cobra.Command, _ []string) {
		output = "table"
		if err := topic.RunE(c, nil); err != nil {
			c.PrintErrln(err)
		}
	})
	return topic
}

func showKinds(w io.Writer, m *machine.Machine) error {
	kinds := api.ListKinds(m)
	rows := [][]string{{"COMMAND", "WHO", "WHAT"}}
	for _, k := range kinds.Commands {
		rows = append(rows, []string{k.Kind, k.Who, k.Doc})
	}
	rows = append(rows, []string{""}, []string{"VIEW", "WHO", "WHAT"})
	for _, k := range kinds.Views {
		rows = append(rows, []string{k.Kind, k.Who, k.Doc})
	}
	return writeTable(w, rows)
}
