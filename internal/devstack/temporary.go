package devstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// TemporaryDir makes a directory for servers whose data nobody needs later.
// release removes it. Directories of processes that died without releasing
// are removed by the next call: each is locked by its owner and by the servers
// in it, and an unlocked one is garbage.
func TemporaryDir(purpose string) (dir string, release func(), err error) {
	return temporaryDirIn(os.TempDir(), purpose)
}

func temporaryDirIn(base, purpose string) (dir string, release func(), err error) {
	root := filepath.Join(base, fmt.Sprintf("tms-%s-%d", purpose, os.Geteuid()))
	if err := os.MkdirAll(root, 0o711); err != nil {
		return "", nil, fmt.Errorf("create temporary directory: %w", err)
	}
	if err := ownedByUs(root); err != nil {
		return "", nil, err
	}
	// One at a time: a lock file that is made but not yet locked looks like garbage.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	turn, err := waitLock(ctx, filepath.Join(root, "turn"))
	if err != nil {
		return "", nil, fmt.Errorf("create temporary directory: %w", err)
	}
	defer turn.unlock()
	sweep(root)
	if dir, err = os.MkdirTemp(root, "s"); err != nil {
		return "", nil, fmt.Errorf("create temporary directory: %w", err)
	}
	lock, err := tryLock(dir + lockSuffix)
	if err != nil {
		return "", nil, fmt.Errorf("lock temporary directory: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the server's account must pass
		lock.unlock()
		return "", nil, fmt.Errorf("open temporary directory to the server: %w", err)
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove(dir + lockSuffix)
		lock.unlock()
	}, nil
}

// ownedByUs refuses a directory that another user made under the name we would
// choose in a shared temporary directory.
func ownedByUs(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check temporary directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of user %d: remove it or set TMPDIR", dir, os.Geteuid())
	}
	return nil
}

const lockSuffix = ".lock"

// sweep removes the directories below root whose owner has died. The lock file
// exists before anything is put into a directory, and goes last.
func sweep(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name, isLock := strings.CutSuffix(entry.Name(), lockSuffix)
		if !isLock {
			continue
		}
		path := filepath.Join(root, entry.Name())
		lock, err := tryLock(path)
		if err != nil {
			continue // alive
		}
		// Servers that are just dying may still write: then the next sweep.
		if os.RemoveAll(filepath.Join(root, name)) == nil {
			_ = os.Remove(path)
		}
		lock.unlock()
	}
}
