//go:build linux || darwin

package node

import "syscall"

// diskOf returns room and size of the disk that holds a directory; zeros where nobody can tell.
func diskOf(dir string) (free, size uint64) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize)
}
