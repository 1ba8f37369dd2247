package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// seeds is the repository of empty indices that tests on the shared engine have
// in common, so that the targets of one come out of those of another. Tests of
// what happens while targets are made create them one by one.
var seeds struct {
	once           sync.Once
	url, name, dir string
}

// seeded has the processes restore their targets from the common repository.
func (b *bundle) seeded() *bundle {
	b.t.Helper()
	seeds.once.Do(func() {
		seeds.url, seeds.name = b.engine, fmt.Sprintf("tms-e2e-seeds-%d", os.Getpid())
		seeds.dir = filepath.Join(b.snapshots(), seeds.name)
		b.must(http.MethodPut, "/_snapshot/"+seeds.name, `{"type": "fs", "settings": {"location": "`+seeds.dir+`"}}`)
	})
	if b.engine == seeds.url && seeds.dir != "" {
		b.env = append(b.env, "TMS_SEED_REPOSITORY="+seeds.name)
	}
	return b
}

// removeSeeds takes the repository away, from an engine that outlives the tests.
func removeSeeds() error {
	if seeds.dir == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, seeds.url+"/_snapshot/"+seeds.name, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED): // it was started for the tests, and is gone
	case err != nil:
		return err
	default:
		_ = resp.Body.Close()
	}
	return os.RemoveAll(seeds.dir)
}
