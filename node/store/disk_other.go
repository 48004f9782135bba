//go:build !linux && !darwin

package store

import "os"

// Servers run on Linux; elsewhere the free space goes unchecked and Badger's own lock is the only one.
func checkSpace(string, uint64) error { return nil }

func lockPath(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0o600) }
