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

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/store"
)

// Files of a node's directory. All that is secret is readable by its owner only.
const (
	configFile   = "config.json"
	circleKey    = "circle.key"     // seed of the circle's Ed25519 key; the same on every replica
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
	Name    string   `json:"name"`    // what the circle is called
	Place   string   `json:"place"`   // where it is
	Aim     string   `json:"aim"`     // what it is for
	Founder string   `json:"founder"` // the first person, who invites the others
	HTTP    string   `json:"http"`    // address the pages and the API listen on, such as 127.0.0.1:7001
	Origin  string   `json:"origin"`  // how people reach it; empty: http://localhost and the port
	Letters []string `json:"letters"` // multiaddrs that other circles reach, such as /ip4/0.0.0.0/tcp/7101
}

// Check says what is missing or wrong.
func (c Config) Check() error {
	for _, f := range []struct{ name, value string }{
		{"name", c.Name}, {"place", c.Place}, {"aim", c.Aim}, {"founder", c.Founder},
	} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("config: fill in %q", f.name)
		}
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		return fmt.Errorf("config: http %q is not an address with a port, such as 127.0.0.1:7001: %w",
			c.HTTP, err)
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
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return fmt.Errorf("init: %s already holds a circle; choose an empty directory, or serve this one",
			dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for _, name := range []string{circleKey, hostKey, storeKey} {
		if err := writeSecret(filepath.Join(dir, name), 32); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	if err := writeSecret(filepath.Join(dir, operatorFile), 24); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	// The config comes last: a directory with one is whole.
	return durable(filepath.Join(dir, configFile), append(raw, '\n'), 0o644)
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
	var c Config
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("read config %s: %w", filepath.Join(dir, configFile), err)
	}
	return c, c.Check()
}

// OperatorToken reads the token that signs in the command line of this machine.
func OperatorToken(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, operatorFile))
	if err != nil {
		return "", fmt.Errorf("read operator token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func writeSecret(path string, n int) error {
	secret := make([]byte, n)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	return durable(path, []byte(base64.RawURLEncoding.EncodeToString(secret)+"\n"), 0o600)
}

func readSecret(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others; make it private: chmod 600 %s", path, path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(secret) != 32 {
		return nil, fmt.Errorf("%s is damaged: it must hold 32 bytes in base64; restore it from your"+
			" backup", path)
	}
	return secret, nil
}

// durable writes a file so that after a crash it is there whole, or not at all.
func durable(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Keys are a node's keys.
type Keys struct {
	Circle ed25519.PrivateKey
	Host   ed25519.PrivateKey
	Store  []byte
}

// ReadKeys reads the keys of a node's directory.
func ReadKeys(dir string) (Keys, error) {
	var seeds [3][]byte
	for i, name := range []string{circleKey, hostKey, storeKey} {
		seed, err := readSecret(dir, name)
		if err != nil {
			return Keys{}, err
		}
		seeds[i] = seed
	}
	return Keys{
		Circle: ed25519.NewKeyFromSeed(seeds[0]), Host: ed25519.NewKeyFromSeed(seeds[1]), Store: seeds[2],
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
