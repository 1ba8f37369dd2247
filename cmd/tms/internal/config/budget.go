package config

import "time"

// Budget bounds what upgrades ask of a search cluster, until an operator says
// otherwise with `tms budget set`.
type Budget struct {
	BudgetTenants        int           `flag:"budget-tenants" env:"TMS_BUDGET_TENANTS" default:"64" help:"tenants in work at once, over all rollouts of a cluster"`
	BudgetCopyTasks      int           `flag:"budget-copy-tasks" env:"TMS_BUDGET_COPY_TASKS" default:"32" help:"copy tasks of a cluster at once"`
	BudgetStateUpdates   int           `flag:"budget-state-updates" env:"TMS_BUDGET_STATE_UPDATES" default:"64" help:"updates of the cluster's state in flight: indices, templates, settings"`
	BudgetDocuments      float64       `flag:"budget-documents-per-second" env:"TMS_BUDGET_DOCUMENTS_PER_SECOND" default:"0" help:"documents copied, or read to be compared, per second and cluster; 0 for no limit"`
	BudgetAdapt          bool          `flag:"budget-adapt" env:"TMS_BUDGET_ADAPT" default:"true" help:"use less of the budget while the cluster is under pressure"`
	BudgetSearchLatency  time.Duration `flag:"budget-search-latency" env:"TMS_BUDGET_SEARCH_LATENCY" default:"1s" zero:"true" help:"pressure when a small search takes longer; 0 does not look"`
	BudgetSearchSlowdown float64       `flag:"budget-search-slowdown" env:"TMS_BUDGET_SEARCH_SLOWDOWN" default:"0" help:"pressure when a small search takes so many times as long as at best, 1.5; 0 does not look"`
	BudgetPendingTasks   int           `flag:"budget-pending-tasks" env:"TMS_BUDGET_PENDING_TASKS" default:"200" zero:"true" help:"pressure from so many pending tasks of the cluster on; 0 does not look"`
	BudgetHeap           int           `flag:"budget-heap-percent" env:"TMS_BUDGET_HEAP_PERCENT" default:"92" zero:"true" help:"pressure from so full a heap of any node on; 0 does not look"`
}
