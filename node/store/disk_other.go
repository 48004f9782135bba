//go:build !linux && !darwin

package store

import (
	"math"
	"os"
)

// Servers run on Linux; elsewhere the free space goes unchecked and Badger's own lock is the only one.
func freeSpace(string) (int64, error) { return math.MaxInt64, nil }

func lockPath(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0o600) }
