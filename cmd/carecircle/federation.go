package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node/api"
)

const joinPoll = 500 * time.Millisecond

func federationCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "federation", Short: "Join circles to a federation, and see who is in it", Args: noArgs,
		Long: "A federation is circles that know each other through a hub. The hub invites a circle with\n" +
			"one line of text; the circle joins with it. From then on all circles find each other, even\n" +
			"while the hub is away. Behind a home router nothing is to be set up: letters go through the\n" +
			"hub.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(inviteCommand(), joinFederationCommand(), circlesCommand(), statusOfCommand())
	return c
}

func inviteCommand() *cobra.Command {
	var n connection
	var days uint32
	var decision string
	c := &cobra.Command{
		Use: "invite CIRCLE", Short: "Invite a circle, at the hub: prints one line for it",
		Args: exactly("name of the circle"),
		Long: "Prints the invitation: one line, for one circle, to use once. Whoever has it can join in\n" +
			"that circle's place, so send it as you would send a password.",
		Example: `  carecircle federation invite "Todmorden" --data DIR --decision CC-7`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			card, err := cardOf(c, client)
			if err != nil {
				return err
			}
			invitation := charter.Invitation{Card: card, Secret: make([]byte, charter.SecretBytes)}
			if _, err := rand.Read(invitation.Secret); err != nil {
				return err
			}
			text, err := invitation.Text()
			if err != nil {
				return err
			}
			_, err = client.Do(c.Context(), "", "", "joining.invite", joining.Invite{
				Secret: sha256.Sum256(invitation.Secret), For: args[0], Days: days, Decision: decision,
			}, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), text)
			return err
		},
	}
	n.flags(c)
	c.Flags().Uint32Var(&days, "days", 14, "how long it holds, 1 to 90")
	c.Flags().StringVar(&decision, "decision", "", "the decision behind it, such as CC-7")
	return c
}

// cardOf asks the node for its circle's card.
func cardOf(c *cobra.Command, client *api.Client) ([]byte, error) {
	body, err := client.Send(c.Context(), "GET", "/api/v1/card", nil)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("read the card: %w", err)
	}
	return charter.ParseText(string(text))
}

func joinFederationCommand() *cobra.Command {
	var n connection
	var wait time.Duration
	c := &cobra.Command{
		Use: "join INVITATION", Short: "Join a federation by its hub's invitation",
		Args: exactly("invitation, or @FILE that holds it"),
		Long: "Asks the hub to take this circle in, and waits for its answer. If the hub is away, the\n" +
			"node goes on asking: see \"federation circles\".",
		Example: "  carecircle federation join --data DIR @invitation.txt",
		RunE: func(c *cobra.Command, args []string) error {
			text := args[0]
			if text != "" && text[0] == '@' {
				raw, err := os.ReadFile(text[1:])
				if err != nil {
					return fmt.Errorf("read the invitation: %w", err)
				}
				text = string(raw)
			}
			invitation, _, err := charter.ParseInvitation(text)
			if err != nil {
				return usageError{fmt.Errorf("this is not an invitation; copy the whole line that the hub"+
					" sent: %w", err)}
			}
			client, err := n.client()
			if err != nil {
				return err
			}
			var met exchange.Met
			_, err = client.Do(c.Context(), "", "", "joining.join", joining.Join{
				Card: invitation.Card, Secret: invitation.Secret,
			}, &met)
			if err != nil {
				return err
			}
			return awaitJoined(c, client, met.Name, wait)
		},
	}
	n.flags(c)
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the hub's answer")
	return c
}

// awaitJoined says what came of asking, when it is known or the wait is over.
func awaitJoined(c *cobra.Command, client *api.Client, name string, wait time.Duration) error {
	for until := time.Now().Add(wait); ; {
		var f joining.Federation
		if err := client.View(c.Context(), "joining.federation", nil, &f); err != nil {
			return err
		}
		switch {
		case f.State == "in":
			_, err := fmt.Fprintf(c.OutOrStdout(), "This circle is in the federation of %s, of %d circles."+
				" See: carecircle federation circles\n", f.HubName, len(f.Circles))
			return err
		case f.State == "refused":
			return machine.Refuse("refused", "%s did not take this circle in: %s", f.HubName, f.Why)
		case time.Now().After(until):
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s has not answered yet. The node goes on asking."+
				" See: carecircle federation circles\n", name)
			return err
		}
		select {
		case <-c.Context().Done():
			return c.Context().Err()
		case <-time.After(joinPoll):
		}
	}
}

func circlesCommand() *cobra.Command {
	var n connection
	var output string
	c := &cobra.Command{
		Use: "circles", Short: "Show the circles of the federation, and how this one stands", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			var f joining.Federation
			if err := client.View(c.Context(), "joining.federation", nil, &f); err != nil {
				return err
			}
			if output != "table" || len(f.Circles) > 0 && f.State != "asking" {
				return show(c.OutOrStdout(), output, f)
			}
			words := map[string]string{
				"none": "This circle is in no federation. Ask a hub for an invitation, then: carecircle" +
					" federation join INVITATION",
				"asking":  f.HubName + " was asked, and has not answered yet.",
				"refused": f.HubName + " did not take this circle in: " + f.Why,
				"hub":     "This circle is the hub of a federation that has no other circles yet.",
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), words[f.State])
			return err
		},
	}
	n.flags(c)
	outputFlag(c, &output)
	return c
}

func statusOfCommand() *cobra.Command {
	var n connection
	var decision string
	c := &cobra.Command{
		Use: "set CIRCLE STATUS", Short: "Say what a circle is doing, at the hub",
		Args: exactly("id of the circle", "status"),
		Long: "STATUS is founding, giving, paused or closed. Nothing passes any more to a circle that is\n" +
			"closed, or from it: what it owes or is owed stays in the books of the others.",
		Example: "  carecircle federation set c2qg... paused --data DIR --decision CC-8",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := n.client()
			if err != nil {
				return err
			}
			_, err = client.Do(c.Context(), "", "", "joining.set", joining.Set{
				Circle: args[0], Status: args[1], Decision: decision,
			}, nil)
			return err
		},
	}
	n.flags(c)
	c.Flags().StringVar(&decision, "decision", "", "the decision behind it, such as CC-8")
	return c
}
