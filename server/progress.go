package server

import (
	"bytes"
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/tracardi/tms/events"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/estimate"
	"github.com/tracardi/tms/upgrader/report"
)

// Progress tells how far rollouts are and what came of them,
// *upgrader.Service.
type Progress interface {
	Get(ctx context.Context, id string) (*upgrader.Rollout, error)
	Progress(ctx context.Context, id string, full bool) (*upgrader.Progress, error)
	// Unended lists the rollouts that are running or paused.
	Unended(ctx context.Context) ([]string, error)
}

// Reports makes the records of rollouts, *report.Reporter.
type Reports interface {
	Report(ctx context.Context, id string) (*report.Report, error)
}

// progressInterval is how often a watch tells how far rollouts are, when they
// got on.
const progressInterval = time.Second

type progressService struct {
	progress Progress
	reports  Reports
	watches  Watches
	stall    time.Duration
}

func (s *progressService) Get(ctx context.Context, r *tmsv1.GetProgressRequest) (*tmsv1.RolloutProgress, error) {
	p, err := s.progress.Progress(ctx, r.GetId(), r.GetView() == "full")
	if err != nil {
		return nil, err
	}
	return rolloutProgress(p), nil
}

func (s *progressService) Watch(r *tmsv1.WatchRolloutsRequest, stream grpc.ServerStreamingServer[tmsv1.WatchRolloutsResponse]) error {
	ctx := stream.Context()
	w := &rolloutWatch{progress: s.progress, only: r.GetRolloutId(), told: map[string]toldProgress{}, out: newOutbox(ctx, stream, s.stall)}
	err := s.watches.Rollouts(ctx, events.RolloutsRequest{
		KeyID: callOf(ctx).principal.KeyID, Rollout: w.only, Token: r.GetResumeToken(), Present: w.present, Tick: w.tick, Every: progressInterval,
	}, func(n events.Notice) error { return w.tell(ctx, n) })
	w.out.close()
	return err
}

// rolloutWatch is one follower's, used by one goroutine.
type rolloutWatch struct {
	progress Progress
	only     string
	told     map[string]toldProgress // what was told last of each rollout
	out      *outbox[tmsv1.WatchRolloutsResponse]
}

func (w *rolloutWatch) present(ctx context.Context) ([]string, error) {
	if w.only != "" {
		_, err := w.progress.Get(ctx, w.only)
		return []string{w.only}, err
	}
	return w.progress.Unended(ctx)
}

func (w *rolloutWatch) tell(ctx context.Context, n events.Notice) error {
	m := &tmsv1.WatchRolloutsResponse{Kind: string(n.Kind), ResumeToken: n.Token}
	if n.Kind == events.KindEvent {
		var err error
		if m.Event, err = eventToProto(n.Event); err != nil {
			return err
		}
	}
	if n.Rollout != "" {
		if err := w.fill(ctx, m, n.Rollout, n.Kind == events.KindPresent); err != nil {
			return err
		}
	}
	return w.out.send(m)
}

// fill adds the rollout as it is now; one that is gone is left out.
func (w *rolloutWatch) fill(ctx context.Context, m *tmsv1.WatchRolloutsResponse, id string, withProgress bool) error {
	p, err := w.progress.Progress(ctx, id, false)
	var gone *upgrader.ServiceError
	if errors.As(err, &gone) && gone.Reason == upgrader.ReasonNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	m.Rollout = rolloutToProto(p.Rollout, time.Now())
	m.Rollout.Tenants = nil
	if withProgress {
		m.Progress = rolloutProgress(p)
		w.told[id] = toldOf(p)
	}
	return nil
}

// toldProgress is what makes a further message worth while: something changed,
// or a tenant came to a standstill, which changes nothing.
type toldProgress struct {
	revision int64
	stalled  int
}

func toldOf(p *upgrader.Progress) toldProgress {
	return toldProgress{p.Rollout.Revision, p.Fleet.Stalled}
}

// tick tells of rollouts that got on, or stopped doing so.
func (w *rolloutWatch) tick(ctx context.Context, token string) error {
	ids := []string{w.only}
	if w.only == "" {
		var err error
		if ids, err = w.progress.Unended(ctx); err != nil {
			return err
		}
	}
	for _, id := range ids {
		p, err := w.progress.Progress(ctx, id, false)
		if err != nil {
			return err
		}
		if w.told[id] == toldOf(p) {
			continue
		}
		w.told[id] = toldOf(p)
		err = w.out.send(&tmsv1.WatchRolloutsResponse{Kind: "progress", Progress: rolloutProgress(p), ResumeToken: token})
		if err != nil {
			return err
		}
	}
	return nil
}

func rolloutProgress(p *upgrader.Progress) *tmsv1.RolloutProgress {
	out := &tmsv1.RolloutProgress{
		RolloutId: p.Rollout.ID, State: string(p.Rollout.State), Revision: p.Rollout.Revision, Time: stamp(p.At), Fleet: partToProgress(p.Fleet),
	}
	for _, w := range p.Waves {
		out.Waves = append(out.Waves, partToProgress(w))
	}
	for i := range p.Tenants {
		t := &p.Tenants[i]
		m := &tmsv1.TenantProgress{
			TenantId: t.TenantID, Wave: int32(t.Wave), State: string(t.State), Amount: amountToProto(t.Amount), Share: round(t.Share), Left: leftToProto(t.Left),
			IdleSeconds: round(t.Idle.Seconds()), Stalled: t.Stalled, Restarts: int32(t.Restarts),
		}
		for _, ix := range t.Indices {
			m.Indices = append(m.Indices, &tmsv1.IndexProgress{Target: ix.Target, State: string(ix.State), Amount: amountToProto(ix.Amount), Restarts: int32(ix.Restarts)})
		}
		out.Tenants = append(out.Tenants, m)
	}
	return out
}

func partToProgress(p upgrader.PartProgress) *tmsv1.PartProgress {
	out := &tmsv1.PartProgress{
		Wave: int32(p.Wave), Tenants: int32(p.Tenants), States: map[string]int32{}, Amount: amountToProto(p.Amount), Share: round(p.Share),
		Left: leftToProto(p.Left), Stalled: int32(p.Stalled),
	}
	for s, n := range p.States {
		out.States[string(s)] = int32(n)
	}
	return out
}

func amountToProto(a upgrader.Amount) *tmsv1.Amount {
	return &tmsv1.Amount{Documents: a.Docs, DocumentsTotal: a.DocsTotal, Bytes: a.Bytes, BytesTotal: a.BytesTotal, DocumentsPerSecond: round(a.PerSecond)}
}

func leftToProto(s *estimate.Span) *tmsv1.TimeLeft {
	if s == nil {
		return nil
	}
	return &tmsv1.TimeLeft{LowSeconds: round(s.Low.Seconds()), HighSeconds: round(s.High.Seconds()), MeasuredTenants: int32(s.Samples)}
}

func (s *progressService) Report(ctx context.Context, r *tmsv1.GetRolloutReportRequest) (*tmsv1.RolloutReport, error) {
	made, err := s.reports.Report(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	out := reportToProto(made)
	if r.GetFormat() == "markdown" {
		var text bytes.Buffer
		if err := made.Markdown(&text); err != nil {
			return nil, err
		}
		out.Markdown = text.String()
	}
	return out, nil
}

func reportToProto(r *report.Report) *tmsv1.RolloutReport {
	out := &tmsv1.RolloutReport{Rollout: rolloutToProto(r.Rollout, r.At), Time: stamp(r.At), TmsVersion: r.TMS, Final: r.Final()}
	for _, q := range r.Quarantine {
		out.Quarantine = append(out.Quarantine, &tmsv1.QuarantineSum{TenantId: q.TenantID, Kind: string(q.Kind), Target: q.Target, Documents: q.Documents, Resolved: q.Resolved})
	}
	for _, e := range r.Exceptions {
		out.Exceptions = append(out.Exceptions, &tmsv1.ReportException{TenantId: e.TenantID, State: string(e.State), Reason: e.Reason})
	}
	for _, c := range r.Commands {
		out.Commands = append(out.Commands, &tmsv1.ReportCommand{Time: stamp(c.At), KeyId: c.KeyID, Action: c.Action, Detail: string(c.Detail)})
	}
	for _, e := range r.Errands {
		out.Errands = append(out.Errands, &tmsv1.ReportErrand{
			TenantId: e.TenantID, Kind: string(e.Kind), State: string(e.State), Verdict: e.Report.Verdict,
			CreatedBy: e.CreatedBy, CreateTime: stamp(e.CreatedAt), FinishTime: stamp(e.FinishedAt),
		})
	}
	return out
}
