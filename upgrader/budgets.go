package upgrader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Budgets is what operators ask of the budgets of all clusters, and the kill
// switch. Safe for concurrent use.
type Budgets struct{ store BudgetStore }

// NewBudgets wires Budgets.
func NewBudgets(store BudgetStore) *Budgets { return &Budgets{store} }

// List returns all budgets, by cluster, and the kill switch, nil when it is off.
func (b *Budgets) List(ctx context.Context) ([]BudgetState, *Stop, error) {
	return b.store.Budgets(ctx)
}

// BudgetCommand changes a cluster's budget. It is idempotent.
type BudgetCommand struct {
	Cluster string 
	Change  BudgetChange
	// Reset gives up first what was set before: the environment counts again.
	Reset  bool
	Caller string
}

// Set changes a budget for all processes, which obey within two seconds.
func (b *Budgets) Set(ctx context.Context, c BudgetCommand) (*BudgetState, error) {
	if !c.Reset && c.Change == (BudgetChange{}) {
		return nil, &BudgetError{Field: "budget", Message: "nothing is to be changed", Remedy: "name a value, or reset"}
	}
	err := b.store.ChangeBudget(ctx, c.Cluster, c.Caller, func(s BudgetState) (BudgetChange, error) {
		if c.Reset {
			s.Set = BudgetChange{}
		}
		set := s.Set.And(c.Change)
		return set, set.Over(s.Defaults).Validate()
	})
	if errors.Is(err, ErrNoBudget) {
		return nil, &BudgetError{
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
func (b *Budgets) StopAll(ctx context.Context, caller, reason string) (*Stop, error) {
	switch reason = strings.TrimSpace(reason); {
	case reason == "":
		return nil, &BudgetError{Field: "reason", Message: "is empty", Remedy: "say why, for all who find their rollouts stopped"}
	case utf8.RuneCountInString(reason) > maxStopReason:
		return nil, &BudgetError{Field: "reason", Message: fmt.Sprintf("has %d characters", utf8.RuneCountInString(reason)), Remedy: fmt.Sprintf("use at most %d", maxStopReason)}
	}
	if _, err := b.store.StopAll(ctx, caller, reason); err != nil {
		return nil, err
	}
	_, stop, err := b.store.Budgets(ctx)
	return stop, err
}

// ResumeAll turns the kill switch off, if it is on.
func (b *Budgets) ResumeAll(ctx context.Context, caller string) error {
	_, err := b.store.ResumeAll(ctx, caller)
	return err
}
