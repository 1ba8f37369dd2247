package devstack

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryRoot is where Linux keeps files in memory, and memoryNeeded how much
// of it must be free: what the servers of a test run write in all is below a
// third of that.
const (
	memoryRoot   = "/dev/shm"
	memoryNeeded = 6 << 30
)

// MemoryDir is TemporaryDir in memory, where the machine has that and TMPDIR
// says nothing else. The creation of an index costs the engine dozens of
// synchronous writes: tests, which lose nothing when the machine goes down,
// run in half the time.
func MemoryDir(purpose string) (dir string, release func(), err error) {
	var free unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs(memoryRoot, &free) == nil &&
		free.Bavail*uint64(free.Bsize) >= memoryNeeded && unix.Access(memoryRoot, unix.W_OK) == nil {
		return temporaryDirIn(memoryRoot, purpose)
	}
	return TemporaryDir(purpose)
}
