package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/carecircle/carecircle/node"
)

func spaceCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "space", Short: "The way out of a full disk", Args: noArgs,
		Long: `A node writes nothing any more while its disk is nearly full, and stops before it is full. It
keeps a ballast of 64 MiB: a file that does nothing but take room. "space release" deletes it, so that
there is room to go on with while you free more; the node makes it again once there is enough.`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var dir string
	release := &cobra.Command{
		Use: "release", Short: "Give the ballast's room back", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError{errors.New("say which node: --data DIR")}
			}
			bytes, err := node.ReleaseSpace(dir)
			if err != nil {
				return err
			}
			text := "There is no ballast left: free some space on the disk of " + dir + "."
			if bytes > 0 {
				text = fmt.Sprintf("Gave back %s. Free more space on the disk of %s soon.",
					bytesOf(uint64(bytes)), dir)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), text)
			return err
		},
	}
	release.Flags().StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"),
		"the node's directory [CARECIRCLE_DATA]")
	c.AddCommand(release)
	return c
}
