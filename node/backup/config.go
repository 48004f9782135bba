// Package backup makes sealed backups of a circle, keeps and proves them, and says which of them may still
// be restored. A backup is one file: the state as of one command and what is secret in a node's directory,
// sealed to the circle's and its co-op's recipients, under a manifest that anyone can check.
package backup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// Defaults and limits of backups.
const (
	DefaultDir      = "backups"
	DefaultKeepDays = 35
	minRecipients   = 2
	maxKeepDays     = 3660
)

// Config says how a node backs its circle up, as "backup" in config.json.
type Config struct {
	// Recipients are the age recipients (age1...) that can open a backup: the circle's own and the co-op's
	// escrow, at least.
	Recipients []string `json:"recipients"`
	// Dir is where backups are kept, seen from the node's directory; empty: "backups".
	Dir string `json:"dir,omitempty"`
	// EveryHours is how often the node makes one; 0: only when asked.
	EveryHours int `json:"everyHours,omitempty"`
	// KeepDays is after how many days a backup is deleted; 0: 35.
	KeepDays int `json:"keepDays,omitempty"`
	// DrillIdentity is an age identity file, seen from the node's directory, that the restore drill opens
	// backups with; empty: the drill checks what can be checked without.
	DrillIdentity string `json:"drillIdentity,omitempty"`
}

// Check says what is missing or wrong.
func (c Config) Check() error {
	if _, err := c.recipients(); err != nil {
		return fmt.Errorf("config: backup: %w", err)
	}
	if c.EveryHours < 0 || c.KeepDays < 0 || c.KeepDays > maxKeepDays {
		return fmt.Errorf("config: backup: everyHours must be 0 or more, keepDays 0 to %d", maxKeepDays)
	}
	return nil
}

const recipientAdvice = `make an identity for each with "carecircle backup keygen FILE", and put the line` +
	` that begins with age1 under "backup", "recipients" in config.json`

func (c Config) recipients() ([]age.Recipient, error) {
	if len(c.Recipients) < minRecipients {
		return nil, fmt.Errorf("%d recipients are named, and there must be at least %d: the circle's own and"+
			" the co-op's escrow: %s", len(c.Recipients), minRecipients, recipientAdvice)
	}
	var out []age.Recipient
	seen := map[string]bool{}
	for _, text := range c.Recipients {
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("%.80q is not an age recipient: %s", text, recipientAdvice)
		}
		if seen[r.String()] {
			return nil, fmt.Errorf("%s is named twice: the circle's own and the co-op's escrow differ", r)
		}
		seen[r.String()] = true
		out = append(out, r)
	}
	return out, nil
}

// Keep returns for how long a backup is kept.
func (c Config) Keep() time.Duration {
	days := c.KeepDays
	if days == 0 {
		days = DefaultKeepDays
	}
	return time.Duration(days) * 24 * time.Hour
}

// In returns the config with its paths as seen from here, for the node in a directory.
func (c Config) In(node string) Config {
	if c.Dir == "" {
		c.Dir = DefaultDir
	}
	c.Dir = under(node, c.Dir)
	if c.DrillIdentity != "" {
		c.DrillIdentity = under(node, c.DrillIdentity)
	}
	return c
}

func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Keygen makes an age identity file, readable by its owner only, and returns its recipient. It refuses a
// file that is there.
func Keygen(path string, now time.Time) (recipient string, err error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make an identity: %w", err)
	}
	recipient = identity.Recipient().String()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%s is there already and may open backups: choose another file", path)
	}
	if err != nil {
		return "", fmt.Errorf("make an identity: %w", err)
	}
	_, err = fmt.Fprintf(f, "# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339),
		recipient, identity)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make an identity: %w", err), os.Remove(path))
	}
	return recipient, nil
}

// Identity opens backups.
type Identity []age.Identity

// ReadIdentity reads an age identity file.
func ReadIdentity(path string) (Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	ids, err := age.ParseIdentities(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s is not an age identity file, which \"carecircle backup keygen\" makes: %w",
			path, err)
	}
	return ids, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
