package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/vault"
)

// masterFlags say where the master key comes from.
type masterFlags struct {
	prefix     string // of the flags' names
	file       string
	passphrase bool
	stdin      bool
}

func (m *masterFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&m.file, m.prefix+"master-key-file", "",
		"file with the master key that seals the node's keys")
	c.Flags().BoolVar(&m.stdin, m.prefix+"passphrase-stdin", false,
		"read the passphrase from the first line of standard input")
}

// source says where the master key of a node comes from: a file, systemd's credentials, or who sits here.
func (m *masterFlags) source(c *cobra.Command) vault.Master {
	out := vault.Master{File: m.file, Credential: os.Getenv("CREDENTIALS_DIRECTORY")}
	in, isFile := c.InOrStdin().(*os.File)
	switch {
	case m.stdin:
		out.Passphrase = func() (string, error) { return readLine(c) }
	case isFile && term.IsTerminal(int(in.Fd())):
		out.Passphrase = func() (string, error) { return askPassphrase(c, in) }
	}
	return out
}

// given tells whether a new master key was chosen by these flags.
func (m *masterFlags) given() bool { return m.file != "" || m.passphrase || m.stdin }

// fresh is source for keys about to be sealed: the file is made if it is not there.
func (m *masterFlags) fresh(c *cobra.Command) (vault.Master, error) {
	if !m.given() {
		return vault.Master{}, usageError{fmt.Errorf("say what seals the keys: --%smaster-key-file FILE,"+
			" or --%spassphrase", m.prefix, m.prefix)}
	}
	out := m.source(c)
	if m.file != "" {
		return out, vault.NewMaster(m.file)
	}
	if out.Passphrase == nil {
		return out, usageError{fmt.Errorf("there is no terminal to ask for a passphrase; give it with"+
			" --%spassphrase-stdin", m.prefix)}
	}
	return out, nil
}

func readLine(c *cobra.Command) (string, error) {
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.Join(errors.New("standard input holds no passphrase"), err)
	}
	return line, nil
}

func askPassphrase(c *cobra.Command, in *os.File) (string, error) {
	c.PrintErr("Passphrase: ")
	text, err := term.ReadPassword(int(in.Fd()))
	c.PrintErrln()
	return string(text), err
}

func keysCommand() *cobra.Command {
	parent := &cobra.Command{
		Use: "keys", Short: "Seal the keys of a stopped node under a master key",
		Long: `A node's keys lie in its directory. Sealed under a master key, or a passphrase, that is kept
elsewhere, a stolen disk says nothing. The node asks for it at every start.`,
	}
	parent.AddCommand(sealCommand(), unsealCommand(), rotateCommand())
	return parent
}

// keysRun is one command on the keys of a stopped node.
func keysRun(
	use, short string, flags []*masterFlags, run func(c *cobra.Command, dir string) error,
) *cobra.Command {
	var dir string
	c := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
		if dir == "" {
			return usageError{errors.New("say which node: --data DIR")}
		}
		if _, err := node.ReadConfig(dir); err != nil {
			return err
		}
		return run(c, dir)
	}}
	c.Flags().StringVar(&dir, "data", os.Getenv("CARECIRCLE_DATA"), "the node's directory [CARECIRCLE_DATA]")
	for _, m := range flags {
		m.add(c)
	}
	return c
}

func (m *masterFlags) addPassphrase(c *cobra.Command) {
	c.Flags().BoolVar(&m.passphrase, m.prefix+"passphrase", false, "ask for a passphrase on the terminal")
}

func sealCommand() *cobra.Command {
	var m masterFlags
	c := keysRun("seal", "Seal the keys", []*masterFlags{&m}, func(c *cobra.Command, dir string) error {
		to, err := m.fresh(c)
		if err != nil {
			return err
		}
		if err := node.SealKeys(dir, to); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "Sealed the keys in %s. %s\n", dir, m.advice())
		return err
	})
	m.addPassphrase(c)
	return c
}

// advice says what to do with what seals the keys.
func (m *masterFlags) advice() string {
	if m.file != "" {
		return "Keep " + m.file + " on another disk, and a copy of it safe: without it the circle cannot" +
			" start.\nServe with: --master-key-file " + m.file
	}
	return "Keep the passphrase safe: without it the circle cannot start."
}

func unsealCommand() *cobra.Command {
	var m masterFlags
	return keysRun("unseal", "Write the keys in plain again", []*masterFlags{&m},
		func(c *cobra.Command, dir string) error {
			if err := node.UnsealKeys(dir, m.source(c)); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "The keys in %s are in plain now.\n", dir)
			return err
		})
}

func rotateCommand() *cobra.Command {
	from, to := masterFlags{}, masterFlags{prefix: "new-"}
	c := keysRun("rotate", "Seal the keys under another master key", []*masterFlags{&from, &to},
		func(c *cobra.Command, dir string) error {
			next, err := to.fresh(c)
			if err != nil {
				return err
			}
			if err := node.RotateKeys(dir, from.source(c), next); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Sealed the keys in %s anew. %s\n", dir, to.advice())
			return err
		})
	to.addPassphrase(c)
	return c
}
