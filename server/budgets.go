package server

import (
	"cmp"
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// Budgets bounds what rollouts ask of clusters, *budget.Service.
type Budgets interface {
	List(context.Context) ([]budget.State, *budget.Stop, error)
	Set(context.Context, budget.Command) (*budget.State, error)
	StopAll(ctx context.Context, caller, reason string) (*budget.Stop, error)
	ResumeAll(ctx context.Context, caller string) error
}

type budgetService struct{ budgets Budgets }

func (s *budgetService) List(ctx context.Context, _ *tmsv1.ListBudgetsRequest) (*tmsv1.ListBudgetsResponse, error) {
	all, stop, err := s.budgets.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListBudgetsResponse{Stop: stopToProto(stop)}
	for i := range all {
		out.Budgets = append(out.Budgets, budgetToProto(&all[i]))
	}
	return out, nil
}

func (s *budgetService) Set(ctx context.Context, r *tmsv1.SetBudgetRequest) (*tmsv1.Budget, error) {
	change := budget.Change{
		Tenants: intOf(r.Tenants), CopyTasks: intOf(r.CopyTasks), StateUpdates: intOf(r.StateUpdates), DocumentsPerSecond: r.DocumentsPerSecond,
		Adapt: r.Adapt, SearchSlowdown: r.SearchSlowdown, PendingTasks: intOf(r.PendingTasks), HeapPercent: intOf(r.HeapPercent),
	}
	if r.SearchLatency != nil {
		d := r.GetSearchLatency().AsDuration()
		change.SearchLatency = &d
	}
	b, err := s.budgets.Set(ctx, budget.Command{Cluster: cmp.Or(r.GetCluster(), upgrader.DefaultCluster), Change: change, Reset: r.GetReset_(), Caller: callerOf(ctx).KeyID})
	if err != nil {
		return nil, err
	}
	return budgetToProto(b), nil
}

func intOf(v *int32) *int {
	if v == nil {
		return nil
	}
	n := int(*v)
	return &n
}

func (s *budgetService) StopAll(ctx context.Context, r *tmsv1.StopAllRequest) (*tmsv1.StopAllResponse, error) {
	stop, err := s.budgets.StopAll(ctx, callerOf(ctx).KeyID, r.GetReason())
	if err != nil {
		return nil, err
	}
	return &tmsv1.StopAllResponse{Stop: stopToProto(stop)}, nil
}

func (s *budgetService) ResumeAll(ctx context.Context, _ *tmsv1.ResumeAllRequest) (*tmsv1.ResumeAllResponse, error) {
	if err := s.budgets.ResumeAll(ctx, callerOf(ctx).KeyID); err != nil {
		return nil, err
	}
	return &tmsv1.ResumeAllResponse{}, nil
}

func stopToProto(s *budget.Stop) *tmsv1.Stop {
	if s == nil {
		return nil
	}
	return &tmsv1.Stop{Reason: s.Reason, StoppedBy: s.StoppedBy, StopTime: stamp(s.StoppedAt)}
}

func budgetToProto(s *budget.State) *tmsv1.Budget {
	b, a, t := s.Budget(), s.Allowance, s.Throttle
	level := 1.0
	if b.Adapt && t.Slowed() {
		level = t.Level
	}
	out := &tmsv1.Budget{
		Cluster: s.Cluster, Tenants: int32(b.Tenants), CopyTasks: int32(b.CopyTasks), StateUpdates: int32(b.StateUpdates),
		DocumentsPerSecond: b.DocumentsPerSecond, Adapt: b.Adapt, SearchLatency: durationpb.New(b.SearchLatency), SearchSlowdown: b.SearchSlowdown,
		PendingTasks: int32(b.PendingTasks), HeapPercent: int32(b.HeapPercent), SetFields: s.Set.Fields(),
		InForce: &tmsv1.BudgetAllowance{
			Level: round(level), Tenants: int32(a.Tenants), Hold: a.Hold, CopyTasks: int32(a.CopyTasks), StateUpdates: int32(a.StateUpdates),
			DocumentsPerSecond: round(a.DocumentsPerSecond),
		},
		Reason: t.Reason, SlowedTime: stamp(t.SlowedAt), ChangeTime: stamp(s.ChangedAt), ChangedBy: s.ChangedBy,
		Use: useToProto(s), Vitals: vitalsToProto(t),
	}
	return out
}

func useToProto(s *budget.State) *tmsv1.BudgetUse {
	use := &tmsv1.BudgetUse{Tenants: int32(s.Tenants)}
	for _, h := range s.Shares {
		use.CopyTasks += int32(h.CopyTasks)
		use.StateUpdates += int32(h.StateUpdates)
		use.Flows += int32(h.Flows)
		use.DocumentsPerSecond += h.DocumentsRate
		use.Shares = append(use.Shares, &tmsv1.BudgetShare{
			Owner: h.Owner, Tenants: int32(h.Tenants), CopyTasks: int32(h.CopyTasks), StateUpdates: int32(h.StateUpdates), DocumentsPerSecond: round(h.DocumentsRate),
		})
	}
	use.DocumentsPerSecond = round(use.DocumentsPerSecond)
	return use
}

func vitalsToProto(t budget.Throttle) *tmsv1.ClusterVitals {
	v := t.Seen
	if v.At.IsZero() {
		return nil
	}
	out := &tmsv1.ClusterVitals{
		SampleTime: stamp(v.At), Problem: t.Problem, RejectedSearches: v.RejectedSearches, RejectedWrites: v.RejectedWrites,
		PendingTasks: int32(v.PendingTasks), HeapPercent: int32(v.HeapPercent), DiskUsed: v.DiskUsed, DiskLimit: v.DiskLimit,
	}
	if v.Search > 0 {
		out.SearchLatency = durationpb.New(v.Search)
	}
	if t.Best > 0 {
		out.BestSearchLatency = durationpb.New(t.Best)
	}
	return out
}
