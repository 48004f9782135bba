package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// magic begins a sealed file.
const magic = "carecircle sealed v1\n"

const maxReads = 100 // of one file, each overtaken by whoever replaces it

// Files are the secret files of a node's directory, sealed or, in directories that nobody sealed, in plain.
type Files struct {
	Dir  string
	root *Secret // nil: plain
}

// Sealed tells whether the files are sealed under a master key.
func (f *Files) Sealed() bool { return f.root != nil }

func (f *Files) path(name string) string { return filepath.Join(f.Dir, name) }

// Read returns a secret file's content.
func (f *Files) Read(name string) ([]byte, error) {
	path := f.path(name)
	var raw []byte
	for whole, tries := false, 0; !whole; tries++ {
		var err error
		if raw, whole, err = f.readOnce(name); err != nil {
			return nil, err
		}
		if tries == maxReads {
			return nil, fmt.Errorf("read %s: it is replaced again and again", path)
		}
	}
	sealed, is := bytes.CutPrefix(raw, []byte(magic))
	if !is {
		return raw, nil
	}
	if f.root == nil {
		return nil, fmt.Errorf("%s is sealed, and %s, which says how, is missing;"+
			" restore it from your backup", path, masterFile)
	}
	bin, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(sealed)))
	if err == nil {
		bin, err = f.root.derive("file").open(bin, []byte(name))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged, or was sealed for another node;"+
			" restore it from your backup: %w", path, err)
	}
	return bin, nil
}

// readOnce reads a secret file, and tells whether it is certain that it was not overwritten meanwhile: that
// comes after it has lost its name.
func (f *Files) readOnce(name string) (raw []byte, whole bool, err error) {
	path := f.path(name)
	file, err := f.open(name)
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // it is only read
	info, err := file.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, false, fmt.Errorf("%s can be read by others; make it private: chmod 600 %s", path, path)
	}
	if raw, err = io.ReadAll(file); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	for _, end := range []string{"", ".new", ""} {
		if now, err := os.Stat(path + end); err == nil && os.SameFile(info, now) {
			return raw, true, nil
		}
	}
	return nil, false, nil
}

// open opens a secret file. While it is replaced, or where a crash came between, the new one lies beside the
// old, whole. Reading changes nothing: the writer may be at work.
func (f *Files) open(name string) (*os.File, error) {
	path := f.path(name)
	file, err := os.Open(path)
	if !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if _, old := os.Stat(path + ".old"); old == nil {
		if file, err := os.Open(path + ".new"); err == nil {
			return file, nil
		}
	}
	return os.Open(path) // it may be in place by now
}

func (f *Files) encode(name string, clear []byte) []byte {
	if f.root == nil {
		return clear
	}
	bin := f.root.derive("file").sealFresh(clear, []byte(name))
	return append([]byte(magic), base64.StdEncoding.EncodeToString(bin)+"\n"...)
}

// Replace writes a secret file. What it held before must not be left behind: it is overwritten on its way
// out. A crash leaves the old or the new; finishReplace clears up.
func (f *Files) Replace(name string, clear []byte) error {
	path := f.path(name)
	if err := writeSynced(path+".new", f.encode(name, clear), 0o600); err != nil {
		return err
	}
	err := os.Rename(path, path+".old")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := SyncDir(f.Dir); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return destroy(path + ".old")
}

// finishReplace takes up a Replace where a crash left it. Nobody may be writing.
func (f *Files) finishReplace(name string) error {
	path := f.path(name)
	_, gone := os.Stat(path)
	_, old := os.Stat(path + ".old")
	if errors.Is(gone, os.ErrNotExist) && old == nil { // between the two renames: the new one is whole
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	if err := SyncDir(f.Dir); err != nil {
		return err
	}
	return errors.Join(destroy(path+".old"), destroy(path+".new"))
}

// destroy overwrites a file, to disk, and removes it. No file is no trouble.
func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("destroy %s: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("destroy %s: %w", path, err)
	}
	return nil
}

// WriteFile writes a file so that after a crash it is there whole, or as it was before.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	if err := writeSynced(path+".new", data, mode); err != nil {
		return err
	}
	err := os.Rename(path+".new", path)
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeSynced(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// SyncDir makes new names in a directory outlive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
