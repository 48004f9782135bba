//go:build !linux

package store

import "os"

func preallocate(f *os.File, size int64) error { return writeZeros(f, 0, size) }

func datasync(f *os.File) error { return f.Sync() }
