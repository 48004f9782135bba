//go:build linux || darwin

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// checkSpace returns an error if the disk that holds dir has less than need bytes free.
func checkSpace(dir string, need uint64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free < need {
		return fmt.Errorf("disk full: %s has %d MiB free, needs %d: free some space and start again,"+
			" nothing is lost", dir, free>>20, need>>20)
	}
	return nil
}

// lockPath takes an exclusive lock on a file or directory, held until the result is closed. Badger locks
// its directory in the same way, so a locked directory is one that somebody has open.
func lockPath(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process or store: close that first: %w",
			path, err), f.Close())
	}
	return f, nil
}
