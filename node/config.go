package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// Files of a node's directory. All that is secret is readable by its owner only.
const (
	configFile   = "config.json"
	circleKey    = backup.CircleKey // seed of the circle's Ed25519 key; the same on every replica
	hostKey      = "host.key"       // seed of this machine's key
	storeKey     = "store.key"      // encrypts what is at rest
	operatorFile = "operator.token" // signs the command line of this machine in
	cardFile     = "card.json"
	stateDir     = "state"
	logDir       = "log"
	snapshotDir  = "snapshots"
)

// Config is what a node is told, kept as config.json in its directory. Unknown fields are errors.
type Config struct {
	Name  string `json:"name"`  // what the circle is called
	Place string `json:"place"` // where it is
	Aim   string `json:"aim"`   // what it is for
	// Founder is the first person, who invites the others. Once the circle knows them, the name is gone here.
	Founder string   `json:"founder,omitempty"`
	HTTP    string   `json:"http"`    // address the pages and the API listen on, such as 127.0.0.1:7001
	Origin  string   `json:"origin"`  // how people reach it; empty: http://localhost and the port
	Letters []string `json:"letters"` // multiaddrs that other circles reach, such as /ip4/0.0.0.0/tcp/7101

	Backup *backup.Config `json:"backup,omitempty"` // absent: the node makes no backups
	// Replica is how this node keeps the books together with others; absent: it is the circle's only one.
	Replica *ReplicaConfig `json:"replica,omitempty"`
	// MasterKeyFile holds the master key where the node's keys are sealed with one; empty: given at start.
	MasterKeyFile string `json:"masterKeyFile,omitempty"`
	// Metrics is an address of its own for /metrics, /healthz and /readyz, such as 127.0.0.1:7301: whoever
	// reaches it may read them. Empty: there is none, and /metrics is for the operator's token alone.
	Metrics string `json:"metrics,omitempty"`
	// Scrub is the time of day, local, at which the circle's replicas are compared and their disks read;
	// empty: 03:30.
	Scrub string `json:"scrub,omitempty"`
}

// Check says what is missing or wrong.
func (c Config) Check() error {
	for _, f := range []struct{ name, value string }{
		{"name", c.Name}, {"place", c.Place}, {"aim", c.Aim},
	} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("config: fill in %q", f.name)
		}
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		return fmt.Errorf("config: http %q is not an address with a port, such as 127.0.0.1:7001: %w",
			c.HTTP, err)
	}
	if c.Replica != nil {
		if err := c.Replica.Check(); err != nil {
			return err
		}
	}
	if _, _, err := net.SplitHostPort(c.Metrics); c.Metrics != "" && err != nil {
		return fmt.Errorf("config: metrics %q is not an address with a port, such as 127.0.0.1:7301: %w",
			c.Metrics, err)
	}
	if _, err := time.Parse("15:04", orElse(c.Scrub, scrubAt)); err != nil {
		return fmt.Errorf("config: scrub %q is not a time of day, such as 03:30", c.Scrub)
	}
	if c.Backup != nil {
		return c.Backup.Check()
	}
	return nil
}

// origin returns where people reach the node.
func (c Config) origin() string {
	if c.Origin != "" {
		return strings.TrimRight(c.Origin, "/")
	}
	_, port, _ := net.SplitHostPort(c.HTTP) //nolint:errcheck // Check has read it
	return "http://localhost:" + port
}

// Init makes a new node's directory: its config and its keys. It refuses a directory that has one.
func Init(dir string, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := c.checkFounder(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return fmt.Errorf("init: %s already holds a circle; choose an empty directory, or serve this one",
			dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := writeSecret(filepath.Join(dir, circleKey), 32); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := writeMachineSecrets(dir); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := writeConfig(dir, c); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

// writeMachineSecrets makes what belongs to one machine alone, and is in no backup.
func writeMachineSecrets(dir string) error {
	return errors.Join(
		writeSecret(filepath.Join(dir, hostKey), 32), writeSecret(filepath.Join(dir, storeKey), 32),
		writeSecret(filepath.Join(dir, operatorFile), 24),
	)
}

// writeConfig comes last: a directory with a config is whole.
func writeConfig(dir string, c Config) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return vault.WriteFile(filepath.Join(dir, configFile), append(raw, '\n'), 0o644)
}

func (c Config) checkFounder() error {
	if strings.TrimSpace(c.Founder) == "" {
		return errors.New(`config: fill in "founder"`)
	}
	return nil
}

// ReadConfig reads and checks the config of a node's directory.
func ReadConfig(dir string) (Config, error) {
	raw, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf("%s holds no circle; make one with: carecircle init --data %s", dir, dir)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	c, err := parseConfig(raw)
	if err != nil {
		return Config{}, fmt.Errorf("read config %s: %w", filepath.Join(dir, configFile), err)
	}
	return c, c.Check()
}

func parseConfig(raw []byte) (Config, error) {
	var c Config
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(&c)
	return c, err
}

// OperatorToken reads the token that signs in the command line of this machine.
func OperatorToken(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, operatorFile))
	if err != nil {
		return "", fmt.Errorf("read operator token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if secret, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(secret) == 0 {
		return "", fmt.Errorf("%s is damaged: it must hold one line of base64; put any such line of 32"+
			" characters there", filepath.Join(dir, operatorFile))
	}
	return token, nil
}

func writeSecret(path string, n int) error {
	secret := make([]byte, n)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	return vault.WriteFile(path, []byte(base64.RawURLEncoding.EncodeToString(secret)+"\n"), 0o600)
}

func readSecret(files *vault.Files, name string) ([]byte, error) {
	raw, err := files.Read(name)
	if err != nil {
		return nil, err
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(secret) != 32 {
		return nil, fmt.Errorf("%s is damaged: it must hold 32 bytes in base64; restore it from your backup",
			filepath.Join(files.Dir, name))
	}
	return secret, nil
}

// files opens the node's secret files, with the master key where they are sealed.
func (c Config) files(dir string, m vault.Master) (*vault.Files, error) {
	if m.File == "" {
		m.File = c.MasterKeyFile
	}
	return vault.OpenFiles(dir, m)
}

// secretFiles are sealed together, under the master key.
var secretFiles = []string{circleKey, hostKey, storeKey, vault.FileName}

// SealKeys seals the keys in a stopped node's directory under a master key; UnsealKeys undoes it; RotateKeys
// has another master key from here on.
func SealKeys(dir string, m vault.Master) error { return vault.Seal(dir, m, secretFiles) }

// UnsealKeys writes the keys in a stopped node's directory in plain again.
func UnsealKeys(dir string, m vault.Master) error { return vault.Unseal(dir, m, secretFiles) }

// RotateKeys seals the keys in a stopped node's directory under another master key.
func RotateKeys(dir string, from, to vault.Master) error { return vault.Rotate(dir, from, to) }

// Keys are a node's keys.
type Keys struct {
	Circle ed25519.PrivateKey
	Host   ed25519.PrivateKey
	Store  vault.Secret
}

// ReadKeys reads a node's keys.
func ReadKeys(files *vault.Files) (Keys, error) {
	var seeds [3][]byte
	for i, name := range []string{circleKey, hostKey, storeKey} {
		seed, err := readSecret(files, name)
		if err != nil {
			return Keys{}, err
		}
		seeds[i] = seed
	}
	return Keys{
		Circle: ed25519.NewKeyFromSeed(seeds[0]), Host: ed25519.NewKeyFromSeed(seeds[1]),
		Store: vault.Secret(seeds[2]),
	}, nil
}

// snapshot returns the key of the state's snapshots, which all replicas of a circle share.
func (k Keys) snapshot() []byte {
	key, err := hkdf.Key(sha256.New, k.Circle.Seed(), nil, "carecircle snapshot v1", store.KeyBytes)
	if err != nil {
		panic(err) // only for a length that nobody asks for
	}
	return key
}

// CircleID returns the id of the circle whose key this is.
func (k Keys) CircleID() letter.CircleID { return letter.CircleIDOf(k.CirclePublic()) }

// CirclePublic returns the circle's public key.
func (k Keys) CirclePublic() ed25519.PublicKey { return k.Circle.Public().(ed25519.PublicKey) }

// HostPublic returns this machine's public key.
func (k Keys) HostPublic() ed25519.PublicKey { return k.Host.Public().(ed25519.PublicKey) }

// firstID names a command of the circle's first start: always the same, so that starting again repeats it.
func (k Keys) firstID(what string) machine.ID {
	sum := letter.HashOf([]byte("first start: " + what + " " + string(k.CircleID())))
	return machine.ID(sum[:16])
}
