package upgrader

import (
	"context"
	"time"
)

// hushMost bounds how long a fence waits for what others have asked the engine
// for: as much as the creations of three tenants take on two cores.
const hushMost = 5 * time.Second

// hush makes the other tenants hold back changes of the cluster's state from now
// on, until writers are served again, and lets the engine finish those under
// way: otherwise the block, the last fields and the aliases wait for them, and
// the writers too.
func (s *session) hush(ctx context.Context) error {
	s.t.Record.QuietAt = s.r.now()
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		return err
	}
	if err := s.engine.AwaitQuiet(ctx, hushMost); err != nil {
		// The fence may become longer for it; that is all.
		s.log.Warn("the changes of the cluster's state under way were not waited for", "error", err)
	}
	return ctx.Err()
}

// Bounds of giveWay. While another tenant's writers wait behind a fence, or are
// about to, the cluster-state updates of everybody else wait for them: most of
// these fences take a second. One that has waited for giveWayMost goes on, and
// those of its tenant for freeWay: a tenant whose fences do not hold, or hold
// for long, does not stop the others.
const (
	giveWayMost = 5 * time.Second
	freeWay     = time.Second
	lookFence   = 100 * time.Millisecond
)

// giveWay holds a change of the cluster state back while another tenant wants it
// quiet (see hush): the engine makes such changes one after the other.
func (s *session) giveWay(ctx context.Context) error {
	if s.t.State.Fenced() {
		return nil
	}
	s.way.Lock()
	defer s.way.Unlock()
	for deadline := s.r.now().Add(giveWayMost); s.r.now().Before(deadline); {
		if s.r.now().Sub(s.wayClear) < lookFence {
			return nil
		}
		busy, err := s.r.store.Quiet(ctx, s.lease.TenantID)
		if err != nil {
			return err
		}
		if !busy {
			s.wayClear = s.r.now()
			return nil
		}
		if err := (&poller{next: lookFence}).pause(ctx); err != nil {
			return err
		}
	}
	s.wayClear = s.r.now().Add(freeWay)
	return nil
}
