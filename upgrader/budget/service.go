package budget

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Service is what operators ask of the budgets of all clusters, and the kill
// switch. Safe for concurrent use.
type Service struct{ store Store }

// NewService wires a Service to what keeps the budgets.
func NewService(store Store) *Service { return &Service{store} }

// List returns all budgets, by cluster, and the kill switch, nil when it is off.
func (b *Service) List(ctx context.Context) ([]State, *Stop, error) {
	return b.store.Budgets(ctx)
}

// Command changes a cluster's budget. It is idempotent.
type Command struct {
	Cluster string
	Change  Change
	// Reset gives up first what was set before: the environment counts again.
	Reset  bool
	Caller string
}

// Set changes a budget for all processes, which obey within two seconds.
func (b *Service) Set(ctx context.Context, c Command) (*State, error) {
	if !c.Reset && c.Change == (Change{}) {
		return nil, &Error{Field: "budget", Message: "nothing is to be changed", Remedy: "name a value, or reset"}
	}
	err := b.store.ChangeBudget(ctx, c.Cluster, c.Caller, func(s State) (Change, error) {
		if c.Reset {
			s.Set = Change{}
		}
		set := s.Set.And(c.Change)
		return set, set.Over(s.Defaults).Validate()
	})
	if errors.Is(err, ErrNone) {
		return nil, &Error{
			Field: "cluster", Message: fmt.Sprintf("%q has no budget: it is not registered, or nothing has been upgraded in it", c.Cluster),
			Remedy: "see `tms budget show`", Err: err,
		}
	}
	if err != nil {
		return nil, err
	}
	all, _, err := b.store.Budgets(ctx)
	for i := range all {
		if all[i].Cluster == c.Cluster {
			return &all[i], err
		}
	}
	return nil, err
}

// maxStopReason is the longest reason of a stop, in characters.
const maxStopReason = 500

// StopAll turns the kill switch on: nothing new starts in any rollout, copies
// come to rest within two seconds, fences are lifted or finished. When it is on
// already nothing changes; the stop in force is returned.
func (b *Service) StopAll(ctx context.Context, caller, reason string) (*Stop, error) {
	switch reason = strings.TrimSpace(reason); {
	case reason == "":
		return nil, &Error{Field: "reason", Message: "is empty", Remedy: "say why, for all who find their rollouts stopped"}
	case utf8.RuneCountInString(reason) > maxStopReason:
		return nil, &Error{Field: "reason", Message: fmt.Sprintf("has %d characters", utf8.RuneCountInString(reason)), Remedy: fmt.Sprintf("use at most %d", maxStopReason)}
	}
	if _, err := b.store.StopAll(ctx, caller, reason); err != nil {
		return nil, err
	}
	_, stop, err := b.store.Budgets(ctx)
	return stop, err
}

// ResumeAll turns the kill switch off, if it is on.
func (b *Service) ResumeAll(ctx context.Context, caller string) error {
	_, err := b.store.ResumeAll(ctx, caller)
	return err
}
