package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
)

// finished is what a run of TMS leaves for the report.
type finished struct {
	took    time.Duration
	fences  []time.Duration
	control control
}

// plan is what a rollout to the new release would do now.
func (c *cluster) plan(ctx context.Context) (*upgrader.Plan, error) {
	p, err := upgrader.NewService(db.NewRollouts(c.db), c.engine, c.catalogue, nil).
		Plan(ctx, upgrader.Request{ToRelease: toRelease})
	if err != nil {
		return nil, err
	}
	if len(p.Refusals) > 0 {
		return nil, fmt.Errorf("plan refused: %+v", p.Refusals)
	}
	return p, nil
}

// upgrade runs a rollout of the whole fleet with one worker process, as
// `tms serve` wires it, and measures from the start command to the end of the
// last tenant. The level is one of verification, with "+seeds" to restore empty
// targets from a snapshot. With a meter every call is noted.
func (c *cluster) upgrade(ctx context.Context, level string, m *meter) (finished, error) {
	level, seeded := strings.CutSuffix(level, "+seeds")
	store := db.NewRollouts(c.db)
	var engine upgrader.Engine = c.engine
	var rows upgrader.Store = store
	if m != nil {
		engine, rows = meteredEngine{c.engine, m}, meteredStore{store, m}
	}
	cost, err := c.controlMeter(ctx)
	if err != nil {
		return finished{}, err
	}
	log := slog.New(stepHandler{Handler: c.log.Handler(), m: m, steps: &cost.steps})
	if seeded {
		engine = c.seeds(engine, m)
	}
	runner := upgrader.NewRunner(rows, engine, c.catalogue, "bench", c.cfg.limits, log)
	if seeded {
		repository, err := c.repository(ctx)
		if err != nil {
			return finished{}, err
		}
		runner.WithSeeds(repository)
	}
	queue, err := db.NewQueue(c.db, store, runner, c.log)
	if err != nil {
		return finished{}, err
	}
	if err := queue.Start(ctx); err != nil {
		return finished{}, err
	}
	took, id, err := c.rollout(ctx, upgrader.NewService(store, engine, c.catalogue, nil), upgrader.VerifyLevel(level))
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := errors.Join(err, queue.Stop(sctx)); err != nil {
		return finished{}, err
	}
	ro, err := store.Rollout(ctx, id)
	if err != nil {
		return finished{}, err
	}
	out := finished{took: took}
	if out.control, err = cost.end(ctx); err != nil {
		return out, err
	}
	for _, t := range ro.Tenants {
		if t.Quarantined > 0 {
			return out, fmt.Errorf("tenant %s has %d documents in quarantine: the fleet is meant to be clean", t.TenantID, t.Quarantined)
		}
		out.fences = append(out.fences, t.Fence)
	}
	return out, nil
}

// seeds is an engine with seeds of the cluster.
func (c *cluster) seeds(e upgrader.Engine, m *meter) upgrader.Engine {
	if m != nil {
		return seeding{e, meteredSeeder{c.engine, m}}
	}
	return seeding{e, c.engine}
}

// repository is where seeds are kept.
func (c *cluster) repository(ctx context.Context) (string, error) {
	const name = "bench"
	return name, c.engine.PutRepository(ctx, backups.Repository{Name: name, Kind: backups.KindFS, Settings: map[string]string{"location": c.stack.Engine.SnapshotDir() + "/" + name}})
}

func (c *cluster) rollout(ctx context.Context, s *upgrader.Service, verify upgrader.VerifyLevel) (time.Duration, string, error) {
	start := time.Now()
	r, err := s.Start(ctx, upgrader.Request{ToRelease: toRelease, Options: upgrader.Options{Verify: verify, FenceTimeout: time.Minute}, Caller: "bench"})
	if err != nil {
		return 0, "", err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, r.ID, ctx.Err()
		case <-tick.C:
		}
		var state upgrader.RolloutState
		if err := c.db.Pool().QueryRow(ctx, `select /* benchmark */ state from rollouts where id = $1`, r.ID).Scan(&state); err != nil {
			return 0, r.ID, err
		}
		if !state.Ended() {
			continue
		}
		took := time.Since(start)
		if state == upgrader.RolloutComplete {
			return took, r.ID, nil
		}
		return took, r.ID, c.failure(ctx, s, r.ID)
	}
}

func (c *cluster) failure(ctx context.Context, s *upgrader.Service, id string) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	for _, t := range r.Tenants {
		if t.State == upgrader.TenantFailed {
			return fmt.Errorf("rollout %s: tenant %s failed: %s", r.State, t.TenantID, t.Reason)
		}
	}
	return fmt.Errorf("rollout ended as %s", r.State)
}

// complete checks that a run has copied what was to be copied, whoever ran it.
func (c *cluster) complete(ctx context.Context, plan *upgrader.Plan) error {
	for _, t := range plan.Tenants {
		if err := c.engine.Refresh(ctx, patterns(toPrefix(c), t.TenantID)...); err != nil {
			return err
		}
		var targets []string
		var want, have int64
		for _, m := range t.Moves {
			targets = append(targets, m.Target)
			for _, cp := range m.Copies {
				want += cp.Docs
			}
		}
		counts, err := c.engine.Count(ctx, targets...)
		if err != nil {
			return err
		}
		for _, n := range counts {
			have += n
		}
		if have != want {
			return fmt.Errorf("tenant %s: %d documents in the new version, %d in the old one", t.TenantID, have, want)
		}
	}
	return nil
}
