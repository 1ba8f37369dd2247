package backups

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracardi/tms/tenants"
)

// CreatePolicy makes a policy; its first run is at the next time of its
// schedule.
func (s *Service) CreatePolicy(ctx context.Context, c tenants.Caller, p Policy) (*Policy, error) {
	times, err := p.check()
	if err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, &p); err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Microsecond)
	p.CreatedBy, p.CreatedAt, p.RetainAt, p.Edition = c.KeyID, now, now.Add(retainEvery), 1
	if !p.Paused {
		p.NextAt = times.next(now)
	}
	err = s.store.CreatePolicy(ctx, &p, s.audit(c, "backup.policy", "policy/"+p.Name, policyDetail(p)))
	switch {
	case errors.Is(err, ErrExists):
		return nil, &Error{Reason: ReasonWrongState, Field: "name", Message: fmt.Sprintf("there is a policy %q already", p.Name), Remedy: "choose another name, or change it with `tms backup policy update`", Err: err}
	case errors.Is(err, ErrNotFound):
		return nil, notFound("repository", "see `tms backup repo list`", "%q is not registered", p.Repository)
	case err != nil:
		return nil, err
	}
	return s.Policy(ctx, p.Name)
}

// resolve looks up what a policy names.
func (s *Service) resolve(ctx context.Context, p *Policy) error {
	r, _, err := s.source(ctx, p.Repository, p.Selection, false)
	if r == nil {
		return err
	}
	p.Repository = r.Name
	if len(p.Selection.Tenants) == 0 && errors.Is(err, ErrNotFound) {
		return nil // tenants with these labels may come
	}
	return err
}

func policyDetail(p Policy) map[string]any {
	return map[string]any{
		"schedule": p.Schedule, "time_zone": p.Zone, "repository": p.Repository, "selection": p.Selection, "digest": p.Digest,
		"drill": p.Drill, "retention": p.Retention, "paused": p.Paused,
	}
}

// Policy returns one.
func (s *Service) Policy(ctx context.Context, name string) (*Policy, error) {
	p, err := s.store.Policy(ctx, name)
	return p, policyError(err, name)
}

func policyError(err error, name string) error {
	if errors.Is(err, ErrNotFound) {
		return notFound("name", "see `tms backup policy list`", "there is no policy %q", short(name))
	}
	return err
}

// Policies lists them, sorted by name.
func (s *Service) Policies(ctx context.Context) ([]*Policy, error) { return s.store.Policies(ctx) }

// nativeLimit bounds the question to one cluster about policies of its own.
const nativeLimit = 10 * time.Second

// NativePolicies lists those that the engines run on their own, by cluster;
// silent are the clusters that do not tell, with the reason.
func (s *Service) NativePolicies(ctx context.Context) (all []NativePolicy, silent []string, err error) {
	homes := []string{tenants.DefaultCluster}
	if s.engines != nil {
		if homes, err = s.engines.Names(ctx); err != nil {
			return nil, nil, err
		}
	}
	found, failed := make([][]NativePolicy, len(homes)), make([]error, len(homes))
	var asking sync.WaitGroup
	for i, home := range homes {
		asking.Go(func() { found[i], failed[i] = s.nativeIn(ctx, home) })
	}
	asking.Wait()
	for i, home := range homes {
		if failed[i] != nil {
			silent = append(silent, fmt.Sprintf("cluster %s: %v", home, engineError(failed[i])))
		}
		all = append(all, found[i]...)
	}
	return all, silent, ctx.Err()
}

// nativeIn are the policies of one cluster.
func (s *Service) nativeIn(ctx context.Context, home string) ([]NativePolicy, error) {
	ctx, cancel := context.WithTimeout(ctx, nativeLimit)
	defer cancel()
	there, err := s.in(ctx, home)
	if err != nil {
		return nil, err
	}
	found, err := there.engine.NativePolicies(ctx)
	for i := range found {
		found[i].Cluster = home
	}
	return found, err
}

// UpdatePolicy replaces what a policy says; p.Edition must be the one read
// last. What it has done so far stays known.
func (s *Service) UpdatePolicy(ctx context.Context, c tenants.Caller, p Policy) (*Policy, error) {
	times, err := p.check()
	if err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, &p); err != nil {
		return nil, err
	}
	a := s.audit(c, "backup.policy", "policy/"+p.Name, policyDetail(p))
	changed, err := s.store.ChangePolicy(ctx, p.Name, &a, func(now *Policy) error {
		if now.Edition != p.Edition {
			return &Error{Reason: ReasonWrongState, Field: "etag", Message: "the policy was changed meanwhile", Remedy: "read it again, and repeat the change", Err: ErrConflict}
		}
		at := now.NextAt
		if p.Schedule != now.Schedule || p.Zone != now.Zone || now.Paused || at.IsZero() {
			at = times.next(s.now())
		}
		if p.Paused {
			at = time.Time{}
		}
		p.CreatedBy, p.CreatedAt, p.Revision, p.Edition, p.NextAt, p.RetainAt = now.CreatedBy, now.CreatedAt, now.Revision, now.Edition+1, at, now.RetainAt
		p.LastSuccess, p.LastFailure, p.LastDrill, p.LastSweep = now.LastSuccess, now.LastFailure, now.LastDrill, now.LastSweep
		*now = p
		return nil
	})
	return changed, policyError(err, p.Name)
}

// DeletePolicy forgets a policy. Its snapshots stay, and are no longer removed
// by themselves.
func (s *Service) DeletePolicy(ctx context.Context, c tenants.Caller, name string) error {
	return policyError(s.store.DeletePolicy(ctx, name, s.audit(c, "backup.policy_deleted", "policy/"+name, nil)), name)
}

// RunPolicy takes a snapshot by a policy now, paused or not; its next run
// stays as it is.
func (s *Service) RunPolicy(ctx context.Context, c tenants.Caller, name, requestID string) (*Run, error) {
	p, err := s.Policy(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.createFor(ctx, c, p, requestID)
}

func (s *Service) createFor(ctx context.Context, c tenants.Caller, p *Policy, requestID string) (*Run, error) {
	return s.Create(ctx, c, SnapshotOrder{
		Repository: p.Repository, Selection: p.Selection, Digest: p.Digest, Purpose: p.purpose(), Policy: p.Name, RequestID: requestID,
	})
}
