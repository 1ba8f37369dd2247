package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// keepBudgets begins to keep this process to the clusters' budgets.
func keepBudgets(ctx context.Context, s config.Budget, store *db.Rollouts, engines upgrader.Engines, owner string, log *slog.Logger, done *closers) (*budget.Steward, error) {
	defaults := budget.Budget{
		Tenants: s.BudgetTenants, CopyTasks: s.BudgetCopyTasks, StateUpdates: s.BudgetStateUpdates, DocumentsPerSecond: s.BudgetDocuments,
		Adapt: s.BudgetAdapt, SearchLatency: s.BudgetSearchLatency, SearchSlowdown: s.BudgetSearchSlowdown,
		PendingTasks: s.BudgetPendingTasks, HeapPercent: s.BudgetHeap,
	}
	if err := defaults.Validate(); err != nil {
		return nil, fmt.Errorf("budget (TMS_BUDGET_*): %w", err)
	}
	steward := budget.NewSteward(store, upgrader.VitalsOf(engines), defaults, owner, log)
	if err := steward.Begin(ctx, upgrader.DefaultCluster); err != nil {
		return nil, err
	}
	done.add("budgets", steward.Close)
	return steward, nil
}
