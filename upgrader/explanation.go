package upgrader

import (
	"context"
	"strings"

	"github.com/tracardi/tms/upgrader/budget"
)

// WithBudgets has the service say what of a rollout is slowed or stopped by
// the budgets of the clusters, and refuse to start anything while all is
// stopped.
func (s *Service) WithBudgets(b budget.Store) *Service {
	s.budgets = b
	return s
}

// explain adds to a rollout under way, and to its tenants, why they are slowed
// or stopped. It is never stored: it holds for everything in the cluster.
func (s *Service) explain(ctx context.Context, r *Rollout) error {
	if s.budgets == nil || !r.working() {
		return nil
	}
	all, stop, err := s.budgets.Budgets(ctx)
	if err != nil {
		return err
	}
	explain(r, all, stop)
	return nil
}

func (r *Rollout) working() bool {
	for i := range r.Tenants {
		if r.Tenants[i].Working() {
			return true
		}
	}
	return false
}

// explain is pure.
func explain(r *Rollout, budgets []budget.State, stop *budget.Stop) {
	var reasons []string
	if r.Reason != "" {
		reasons = append(reasons, r.Reason)
	}
	if stop != nil {
		reasons = append(reasons, stop.Sentence())
	}
	for i := range budgets {
		b := &budgets[i]
		sentence := ""
		if b.Budget().Adapt {
			sentence = b.Throttle.Sentence(b.Allowance)
		}
		concerned := false
		for j := range r.Tenants {
			t := &r.Tenants[j]
			if t.Cluster != b.Cluster || !t.Working() || t.State.Fenced() {
				continue
			}
			concerned = true
			switch {
			case t.Reason != "":
			case stop != nil && t.Intent != IntentCancel:
				t.Reason = "stopped: " + stop.Reason
			case sentence != "" && t.State != TenantPlanned:
				t.Reason = sentence
			}
		}
		if concerned && sentence != "" {
			reasons = append(reasons, "cluster "+b.Cluster+" is "+sentence)
		}
	}
	r.Reason = strings.Join(reasons, "; ")
}

// refuseStopped adds to a plan that everything is stopped.
func (s *Service) refuseStopped(ctx context.Context, p *Plan) error {
	if s.budgets == nil {
		return nil
	}
	_, stop, err := s.budgets.Budgets(ctx)
	if err == nil && stop != nil {
		p.Refusals = append([]Refusal{{
			Code: "stopped_all", Message: stop.Sentence(), Remedy: "find out whether the reason still holds, then `tms upgrade resume-all`",
		}}, p.Refusals...)
	}
	return err
}
