package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// takeovers measures how long tenants of a dead or frozen process wait for
// another owner.
type takeovers struct {
	mu    sync.Mutex
	took  []time.Duration
	watch sync.WaitGroup
}

// owned is a tenant that a process held when it was hit.
type owned struct {
	Rollout, Tenant string
	Epoch           int64
}

// takeoverLimit ends the watch over one tenant: other faults may keep
// everybody from it.
const takeoverLimit = time.Minute

// watchTakeover notes what a process holds. The function it returns is called
// when the process is out of action, and measures in the background.
func (s *site) watchTakeover(ctx context.Context, p *process) func() {
	rows, err := s.pool.Query(ctx, `
		select rollout_id, tenant_id, epoch from rollout_tenants
		where working and lease_until > now() and lease_owner like $1`, fmt.Sprintf("%%-%d-%%", p.server.PID()))
	if err != nil {
		return func() {} // Postgres is hit as well
	}
	held, err := pgx.CollectRows(rows, pgx.RowToStructByPos[owned])
	if err != nil {
		return func() {}
	}
	return func() {
		hit := time.Now()
		for _, o := range held {
			s.takeovers.watch.Go(func() { s.awaitTakeover(ctx, o, hit) })
		}
	}
}

func (s *site) awaitTakeover(ctx context.Context, o owned, hit time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeoverLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var epoch int64
		var working bool
		err := s.pool.QueryRow(ctx, `select epoch, working from rollout_tenants where rollout_id = $1 and tenant_id = $2`, o.Rollout, o.Tenant).Scan(&epoch, &working)
		switch {
		case err == nil && epoch > o.Epoch:
			s.takeovers.mu.Lock()
			s.takeovers.took = append(s.takeovers.took, time.Since(hit))
			s.takeovers.mu.Unlock()
			return
		case err == nil && !working, ctx.Err() != nil:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// summary is how many there were, their median and the longest.
func (t *takeovers) summary() (n int, median, longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.took) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(t.took))
	return len(sorted), sorted[len(sorted)/2], sorted[len(sorted)-1]
}
