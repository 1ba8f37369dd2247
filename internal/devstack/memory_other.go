//go:build !linux

package devstack

// MemoryDir is TemporaryDir: where files can live in memory is known for
// Linux only.
func MemoryDir(purpose string) (dir string, release func(), err error) {
	return TemporaryDir(purpose)
}
