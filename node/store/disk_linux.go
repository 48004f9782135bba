package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// preallocate gives a new file its length, and the disk space for it: so a full disk shows here, and a
// write within the length need not change the file's size.
func preallocate(f *os.File, size int64) error {
	err := retry(func() error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return writeZeros(f, 0, size)
	}
	if err != nil {
		return fmt.Errorf("reserve %d bytes for %s: %w", size, f.Name(), err)
	}
	return nil
}

// datasync has what was written to f on disk when it returns nil.
func datasync(f *os.File) error {
	if err := retry(func() error { return syscall.Fdatasync(int(f.Fd())) }); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return nil
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
