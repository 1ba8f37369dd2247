package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// meteredStore passes on what workers ask of Postgres and notes its time.
type meteredStore struct {
	upgrader.Store
	m *meter
}

func (s meteredStore) Acquire(ctx context.Context, rollout, tenant, owner string, ttl time.Duration) (*upgrader.Lease, error) {
	defer s.m.stored("pg Acquire", tenant, time.Now())
	return s.Store.Acquire(ctx, rollout, tenant, owner, ttl)
}

func (s meteredStore) Extend(ctx context.Context, l *upgrader.Lease, ttl time.Duration) error {
	defer s.m.stored("pg Extend", l.TenantID, time.Now())
	return s.Store.Extend(ctx, l, ttl)
}

func (s meteredStore) Release(ctx context.Context, l *upgrader.Lease, next time.Time, commands int64, unanswered bool) error {
	defer s.m.stored("pg Release", l.TenantID, time.Now())
	return s.Store.Release(ctx, l, next, commands, unanswered)
}

func (s meteredStore) Load(ctx context.Context, rollout, tenant string) (*upgrader.Rollout, *upgrader.RolloutTenant, error) {
	defer s.m.stored("pg Load", tenant, time.Now())
	return s.Store.Load(ctx, rollout, tenant)
}

func (s meteredStore) OldTemplates(ctx context.Context, rollout, tenant string) ([]upgrader.Template, error) {
	defer s.m.stored("pg OldTemplates", tenant, time.Now())
	return s.Store.OldTemplates(ctx, rollout, tenant)
}

func (s meteredStore) SaveTenant(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant) error {
	defer s.m.stored("pg SaveTenant", l.TenantID, time.Now())
	return s.Store.SaveTenant(ctx, l, t)
}

func (s meteredStore) MarkSwitched(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant, release string) error {
	defer s.m.stored("pg MarkSwitched", l.TenantID, time.Now())
	return s.Store.MarkSwitched(ctx, l, t, release)
}

func (s meteredStore) Moves(ctx context.Context, rollout, tenant string) ([]upgrader.Move, error) {
	defer s.m.stored("pg Moves", tenant, time.Now())
	return s.Store.Moves(ctx, rollout, tenant)
}

func (s meteredStore) SaveMoves(ctx context.Context, l *upgrader.Lease, moves ...upgrader.Move) error {
	defer s.m.stored("pg SaveMoves", l.TenantID, time.Now())
	return s.Store.SaveMoves(ctx, l, moves...)
}

func (s meteredStore) AddQuarantine(ctx context.Context, l *upgrader.Lease, docs ...upgrader.Quarantined) error {
	defer s.m.stored("pg AddQuarantine", l.TenantID, time.Now())
	return s.Store.AddQuarantine(ctx, l, docs...)
}

func (s meteredStore) DropQuarantine(ctx context.Context, l *upgrader.Lease, index string, ids ...string) error {
	defer s.m.stored("pg DropQuarantine", l.TenantID, time.Now())
	return s.Store.DropQuarantine(ctx, l, index, ids...)
}

func (s meteredStore) Quarantine(ctx context.Context, f upgrader.QuarantineFilter) ([]upgrader.Quarantined, error) {
	defer s.m.stored("pg Quarantine", f.TenantID, time.Now())
	return s.Store.Quarantine(ctx, f)
}

// stepHandler is a log handler that hands the runner's "step" lines to the
// meter; warnings go on to the next handler.
type stepHandler struct {
	slog.Handler
	m      *meter
	tenant string
	steps  *atomic.Int64
}

func (h stepHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h stepHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "step" {
		h.steps.Add(1)
	}
	if r.Message == "step" && h.m != nil {
		var step string
		var seconds float64
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "step":
				step = a.Value.String()
			case "seconds":
				seconds = a.Value.Float64()
			}
			return true
		})
		h.m.stepped(step, h.tenant, seconds, r.Time)
	}
	if r.Level < slog.LevelWarn {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs remembers the tenant that the runner's logger carries.
func (h stepHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "tenant" {
			h.tenant = a.Value.String()
		}
	}
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h stepHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}
