package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dirLock is an advisory lock (flock) on a file. The kernel drops it when the
// last descriptor is closed: ours, or one that a child inherited.
type dirLock struct{ file *os.File }

const lockPoll = 20 * time.Millisecond

// errLocked says that somebody else holds the lock.
var errLocked = errors.New("in use")

// tryLock takes the lock at path or returns errLocked at once.
func tryLock(path string) (*dirLock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &dirLock{file: file}, nil
}

// waitLock takes the lock at path, waiting for it until ctx ends.
func waitLock(ctx context.Context, path string) (*dirLock, error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		lock, err := tryLock(path)
		if err == nil || !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for lock %s: %w", path, ctx.Err())
		case <-ticker.C:
		}
	}
}

// lockDir makes dir the caller's until unlock and until every process that
// inherited the lock has ended. A directory whose owner is alive is refused;
// one whose owner is dead is waited for, because its children are about to go.
func lockDir(ctx context.Context, dir string) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lock, err := tryLock(path)
	if errors.Is(err, errLocked) {
		if pid := lockOwner(path); pid > 0 && syscall.Kill(pid, 0) == nil {
			return nil, fmt.Errorf("directory %s is in use by process %d: stop it or choose another directory", dir, pid)
		}
		lock, err = waitLock(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	if err := lock.writeOwner(); err != nil {
		lock.unlock()
		return nil, err
	}
	return lock, nil
}

func (l *dirLock) writeOwner() error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write lock owner: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("write lock owner: %w", err)
	}
	return nil
}

func lockOwner(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

func (l *dirLock) unlock() { _ = l.file.Close() }
