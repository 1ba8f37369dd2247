package upgrader

import (
	"context"
	"fmt"
	"time"

	"github.com/tracardi/tms/upgrader/estimate"
)

// Amount is how much of something is done.
type Amount struct {
	Docs, DocsTotal   int64
	Bytes, BytesTotal int64   // of primaries; Bytes is estimated from documents
	PerSecond         float64 // documents, at the present pace
}

func (a *Amount) add(b Amount) {
	a.Docs += b.Docs
	a.DocsTotal += b.DocsTotal
	a.Bytes += b.Bytes
	a.BytesTotal += b.BytesTotal
	a.PerSecond += b.PerSecond
}

// Progress is how far a rollout is.
type Progress struct {
	Rollout *Rollout
	At      time.Time
	Fleet   PartProgress
	Waves   []PartProgress   // by number; none for a rollout without waves
	Tenants []TenantProgress // as in the rollout
}

// PartProgress is how far a wave, or the fleet, is.
type PartProgress struct {
	Wave    int // 0 for the fleet
	Tenants int
	States  map[TenantState]int // tenants
	Amount
	Share   float64        // of the work, 0..1
	Left    *estimate.Span // nil: nothing was measured, or nothing is left
	Stalled int            // tenants
}

// TenantProgress is how far a tenant is.
type TenantProgress struct {
	TenantID string
	Wave     int
	State    TenantState
	Amount
	Share float64        // of the work, 0..1
	Left  *estimate.Span // as in PartProgress
	// Idle is since its state or its documents last changed.
	Idle    time.Duration
	Stalled string // why it counts as stalled, in words; "" when it does not
	Indices []IndexProgress
	// Restarts of copies that stood still.
	Restarts int
}

// IndexProgress is how far a target index is.
type IndexProgress struct {
	Target string
	State  MoveState
	Amount
	Restarts int
}

// Paces tell what progress needs beside a rollout's rows.
type Paces interface {
	// Samples of the latest tenants that were upgraded in a cluster; where
	// there are none, what rehearsals expect. Own ones are of the rollout.
	Samples(ctx context.Context, cluster, rollout string) ([]estimate.Sample, error)
	// Idle is the time since each working tenant of a rollout last got on.
	Idle(ctx context.Context, rollout string) (map[string]time.Duration, error)
	// Unended are the rollouts that are running or paused, the oldest first.
	Unended(ctx context.Context) ([]string, error)
	// RunningMoves are those that documents are being copied for, by tenant.
	RunningMoves(ctx context.Context, rollout string) (map[string][]Move, error)
}

// WithProgress lets the service tell how far rollouts are; a tenant that gets
// nowhere for longer than stall is said to be stalled, 0 for the default.
func (s *Service) WithProgress(p Paces, stall time.Duration) *Service {
	if stall == 0 {
		stall = DefaultStall
	}
	s.paces, s.stall = p, stall
	return s
}

// Unended lists the rollouts that are running or paused.
func (s *Service) Unended(ctx context.Context) ([]string, error) { return s.paces.Unended(ctx) }

// Progress tells how far a rollout is; full has all moves in it.
func (s *Service) Progress(ctx context.Context, id string, full bool) (*Progress, error) {
	r, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.ProgressOf(ctx, r, full)
}

// ProgressOf is Progress of a rollout that was just read.
func (s *Service) ProgressOf(ctx context.Context, r *Rollout, full bool) (*Progress, error) {
	m := measures{now: s.now(), stall: s.stall, moves: map[string][]Move{}, samples: map[string]estimate.Model{}}
	var err error
	if !r.State.Ended() {
		if m.limits, m.stopped, err = s.limits(ctx); err != nil {
			return nil, err
		}
	}
	if m.idle, err = s.paces.Idle(ctx, r.ID); err != nil {
		return nil, err
	}
	if m.moves, err = s.paces.RunningMoves(ctx, r.ID); err != nil {
		return nil, err
	}
	for _, t := range r.Tenants {
		if full {
			if m.moves[t.TenantID], err = s.Moves(ctx, r.ID, t.TenantID); err != nil {
				return nil, err
			}
		}
		if _, known := m.samples[t.Cluster]; !known && !r.State.Ended() {
			samples, err := s.paces.Samples(ctx, t.Cluster, r.ID)
			if err != nil {
				return nil, err
			}
			m.samples[t.Cluster] = estimate.Fit(samples)
		}
	}
	return m.progress(r), nil
}

// measures are what a progress is computed from. No I/O, no clock.
type measures struct {
	now     time.Time
	stall   time.Duration
	idle    map[string]time.Duration
	moves   map[string][]Move
	samples map[string]estimate.Model // by cluster
	stopped bool                      // the kill switch is on
	limits  map[string]float64        // documents per second by cluster, where there is a limit
}

// doneShare is how much of a tenant's work is certainly behind it in a state,
// apart from the copy: roughly as in the breakdowns of docs/benchmarks.md.
var doneShare = map[TenantState]float64{
	TenantPlanned: 0, TenantPrepared: 0.3, TenantCopying: 0.3, TenantCopied: 0.7, TenantCompared: 0.9, TenantFenced: 0.95, TenantVerified: 0.98,
}

func (m measures) progress(r *Rollout) *Progress {
	p := &Progress{Rollout: r, At: m.now}
	fleet, waves := newTotals(0), map[int]*totals{}
	for i := range r.Tenants {
		t := &r.Tenants[i]
		e := m.samples[t.Cluster]
		tp, left, expected := m.tenant(r, t, e)
		p.Tenants = append(p.Tenants, tp)
		fleet.count(r, t, tp, e, left, expected)
		if n := t.wave(); n > 0 {
			if waves[n] == nil {
				waves[n] = newTotals(n)
			}
			waves[n].count(r, t, tp, e, left, expected)
		}
	}
	p.Fleet = fleet.part(r, m)
	for n := 1; len(p.Waves) < len(waves); n++ {
		if w := waves[n]; w != nil {
			p.Waves = append(p.Waves, w.part(r, m))
		}
	}
	return p
}

// tenant is the progress of one tenant, with the seconds that it has left and
// those that it was expected to take as a whole.
func (m measures) tenant(r *Rollout, t *RolloutTenant, e estimate.Model) (tp TenantProgress, left, expected float64) {
	tp = TenantProgress{TenantID: t.TenantID, Wave: t.wave(), State: t.State}
	for _, mv := range m.moves[t.TenantID] {
		ip := mv.progress(m.now)
		tp.PerSecond += ip.PerSecond
		tp.Restarts += ip.Restarts
		tp.Indices = append(tp.Indices, ip)
	}
	tp.DocsTotal, tp.Docs, tp.BytesTotal = t.DocsTotal, min(t.Documents, t.DocsTotal), t.Record.Bytes
	tp.Share = doneShare[t.State]
	copied := 1.0
	if t.DocsTotal > 0 {
		copied = float64(tp.Docs) / float64(t.DocsTotal)
	}
	switch {
	case t.State.Ended():
		tp.Share, copied = 1, 1
	case t.State == TenantCopying:
		tp.Share += copied * (doneShare[TenantCopied] - doneShare[TenantCopying])
	}
	tp.Bytes = int64(float64(tp.BytesTotal) * copied)
	if t.State.Ended() || t.State.Returning() {
		return tp, 0, e.Seconds(t.DocsTotal)
	}
	tp.Idle = m.idle[t.TenantID]
	tp.Stalled = m.stalled(r, t, tp.Idle)
	expected = e.Seconds(t.DocsTotal)
	left = expected * (1 - tp.Share)
	if tp.PerSecond > 0 {
		// What runs now says more than what others took.
		left = max(float64(tp.DocsTotal-tp.Docs)/tp.PerSecond, expected*(1-doneShare[TenantCopied]))
	}
	left = max(left, m.throttled(r, t, tp))
	if m.stopped {
		return tp, left, expected // for nobody knows how long
	}
	tp.Left = e.Span(left, 1)
	return tp, left, expected
}

// stalled says why a tenant that gets nowhere is a matter for somebody; "" when
// it waits for what it has to wait for.
func (m measures) stalled(r *Rollout, t *RolloutTenant, idle time.Duration) string {
	waits := r.Wish == WishPause || m.stopped || t.State == TenantPlanned && t.StartedAt.IsZero() || t.State == TenantCompared && !t.SwitchAllowed
	if waits || idle <= m.stall {
		return ""
	}
	why := t.Reason
	switch {
	case why != "":
	case t.LeaseUntil.Before(m.now):
		why = "no process works on it; is one running, and are its slots free?"
	default:
		why = "process " + t.LeaseOwner + " holds it and gets nowhere; look at its log and at the engine's tasks"
	}
	return fmt.Sprintf("%s without progress in state %s: %s", idle.Round(time.Second), t.State, why)
}

// wave is the number of the tenant's wave, from 1; 0 without waves.
func (t *RolloutTenant) wave() int { return t.Wave }

// freshPace is how long the pace of a copy is believed without a new document.
const freshPace = 15 * time.Second

// progress of one target index.
func (m *Move) progress(now time.Time) IndexProgress {
	p := IndexProgress{Target: m.Target, State: m.State}
	for _, c := range m.Copies {
		done := c.Copied
		if c.State == CopyDone {
			done = max(c.Docs, c.Copied)
		}
		if c.Foreign { // how many of its documents come here nobody knows before
			done, c.Docs, c.Bytes = c.Copied, c.Copied, 0
		}
		a := Amount{Docs: min(done, max(c.Docs, c.Copied)), DocsTotal: max(c.Docs, c.Copied), BytesTotal: c.Bytes, Bytes: c.Bytes}
		if a.DocsTotal > 0 {
			a.Bytes = int64(float64(c.Bytes) * float64(a.Docs) / float64(a.DocsTotal))
		}
		if running := c.State == CopyRunning || c.State == CopyStreaming; running {
			p.State = MoveCopying
			a.PerSecond = c.Pace.perSecond(c.Copied, now)
		}
		p.add(a)
		p.Restarts += c.Stalls
	}
	return p
}

// perSecond is the pace since the copy was begun; 0 once it stands still.
func (p Pace) perSecond(copied int64, now time.Time) float64 {
	took := p.Moved.Sub(p.Began).Seconds()
	if took <= 0 || now.Sub(p.Moved) > freshPace {
		return 0
	}
	return float64(copied-p.From) / took
}
