package vault

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
	masterFile     = "master.json"
	credentialName = "carecircle-master" // of systemd's LoadCredential
	minPassphrase  = 12
)

// How hard a passphrase is to guess: the second profile of RFC 9106.
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
)

// Master says where the master key comes from: the first that is given.
type Master struct {
	File       string                 // holds 32 bytes in base64; empty: none
	Credential string                 // directory of systemd's credentials; empty: none
	Passphrase func() (string, error) // asks for it; nil: nobody can be asked
}

// sealedRoot is what master.json holds: the root key, which seals the files, sealed under the master key. So
// another master key means one file to write.
type sealedRoot struct {
	By     string `json:"by"` // key or passphrase
	Salt   []byte `json:"salt,omitempty"`
	Time   uint32 `json:"time,omitempty"`
	Memory uint32 `json:"memoryKiB,omitempty"`
	Lanes  uint8  `json:"lanes,omitempty"`
	Root   []byte `json:"root"`
}

const (
	byKey        = "key"
	byPassphrase = "passphrase"
)

// OpenFiles returns the secret files of a directory. Where they are sealed it takes the master key.
func OpenFiles(dir string, m Master) (*Files, error) {
	f := &Files{Dir: dir}
	raw, err := os.ReadFile(f.path(masterFile))
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	var s sealedRoot
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%s is damaged; restore it from your backup: %w", f.path(masterFile), err)
	}
	key, err := m.key(s)
	if err != nil {
		return nil, err
	}
	root, err := key.derive("master").open(s.Root, []byte(masterFile))
	if err != nil || len(root) != len(Secret{}) {
		return nil, fmt.Errorf("this is not the %s that %s was sealed with: %w", words(s.By), dir, ErrSealed)
	}
	f.root = (*Secret)(root)
	return f, nil
}

func words(by string) string {
	if by == byPassphrase {
		return byPassphrase
	}
	return "master key"
}

// key finds the master key that a sealed root asks for.
func (m Master) key(s sealedRoot) (Secret, error) {
	switch s.By {
	case byPassphrase:
		if m.Passphrase == nil {
			return Secret{}, errors.New("the keys are sealed with a passphrase; start from a terminal," +
				" or give it on standard input with --passphrase-stdin")
		}
		text, err := m.Passphrase()
		if err != nil {
			return Secret{}, fmt.Errorf("ask for the passphrase: %w", err)
		}
		// Bounded: a changed file must not ask for all the memory there is.
		if s.Time == 0 || s.Time > 16 || s.Memory > 1<<20 || s.Lanes == 0 || len(s.Salt) < 16 {
			return Secret{}, fmt.Errorf("%s is damaged; restore it from your backup", masterFile)
		}
		return Secret(argon2.IDKey([]byte(text), s.Salt, s.Time, s.Memory, s.Lanes, 32)), nil
	case byKey:
		path, err := m.path()
		if err != nil {
			return Secret{}, err
		}
		return readMaster(path)
	default:
		return Secret{}, fmt.Errorf("%s asks for %q, which this version does not know", masterFile, s.By)
	}
}

// path returns the file that holds the master key.
func (m Master) path() (string, error) {
	if m.File != "" {
		return m.File, nil
	}
	if m.Credential != "" {
		path := filepath.Join(m.Credential, credentialName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the keys are sealed with a master key; say where it is:"+
		" --master-key-file FILE, or systemd's LoadCredential=%s", credentialName)
}

func readMaster(path string) (Secret, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read master key: %w", err)
	}
	bin, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(bin) != len(Secret{}) {
		return Secret{}, fmt.Errorf("%s holds no master key: 32 bytes in base64, as"+
			" carecircle keys seal makes them", path)
	}
	return Secret(bin), nil
}

// NewMaster makes the file of a new master key, readable by its owner only. It keeps one that is there.
func NewMaster(path string) error {
	if _, err := os.Stat(path); err == nil {
		_, err := readMaster(path)
		return err
	}
	key := NewSecret()
	return WriteFile(path, []byte(base64.RawURLEncoding.EncodeToString(key[:])+"\n"), 0o600)
}

// sealRoot writes master.json: the root key under a master key.
func (f *Files) sealRoot(root Secret, m Master) error {
	s := sealedRoot{By: byKey}
	if m.File == "" && m.Passphrase != nil {
		salt := NewSecret()
		s = sealedRoot{
			By: byPassphrase, Salt: salt[:], Time: argonTime, Memory: argonMemory, Lanes: argonThreads,
		}
	}
	if s.By == byPassphrase {
		ask := m.Passphrase
		m.Passphrase = func() (string, error) {
			text, err := ask()
			if err == nil && len(text) < minPassphrase {
				err = fmt.Errorf("it has fewer than %d letters; choose a longer one", minPassphrase)
			}
			return text, err
		}
	}
	key, err := m.key(s)
	if err != nil {
		return err
	}
	s.Root = key.derive("master").sealFresh(root[:], []byte(masterFile))
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write master key: %w", err)
	}
	return WriteFile(f.path(masterFile), append(raw, '\n'), 0o600)
}

// Seal seals the named files of a directory under a master key. Interrupted, it is done again.
func Seal(dir string, m Master, names []string) error {
	plain := &Files{Dir: dir}
	f := plain
	if _, err := os.Stat(plain.path(masterFile)); err == nil {
		if f, err = OpenFiles(dir, m); err != nil {
			return fmt.Errorf("seal keys: %w", err)
		}
	} else {
		root := NewSecret()
		if err := plain.sealRoot(root, m); err != nil {
			return fmt.Errorf("seal keys: %w", err)
		}
		f = &Files{Dir: dir, root: &root}
	}
	return f.rewrite(f, names)
}

// Unseal writes the named files in plain again.
func Unseal(dir string, m Master, names []string) error {
	f, err := OpenFiles(dir, m)
	if err != nil {
		return fmt.Errorf("unseal keys: %w", err)
	}
	if err := f.rewrite(&Files{Dir: dir}, names); err != nil {
		return err
	}
	return destroy(f.path(masterFile))
}

// rewrite writes the named files as another set writes them; those that are not there are left out.
func (f *Files) rewrite(as *Files, names []string) error {
	for _, name := range names {
		if err := f.finishReplace(name); err != nil {
			return fmt.Errorf("rewrite %s: %w", name, err)
		}
		clear, err := f.Read(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = as.Replace(name, clear)
		}
		if err != nil {
			return fmt.Errorf("rewrite %s: %w", name, err)
		}
	}
	return nil
}

// Rotate has another master key from here on. The files themselves stay as they are sealed.
func Rotate(dir string, from, to Master) error {
	f, err := OpenFiles(dir, from)
	if err != nil {
		return fmt.Errorf("rotate the master key: %w", err)
	}
	if f.root == nil {
		return fmt.Errorf("the keys in %s are not sealed; seal them first: carecircle keys seal", dir)
	}
	if err := f.sealRoot(*f.root, to); err != nil {
		return fmt.Errorf("rotate the master key: %w", err)
	}
	return nil
}
