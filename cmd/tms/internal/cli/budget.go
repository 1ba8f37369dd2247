package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) budgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "budget", Short: "Bound what all rollouts together ask of a search cluster",
		Long: `Bound what all rollouts together, in all processes, ask of a search cluster.

While the cluster is under pressure less than the budget is in force; "show"
says how much and why. A change is obeyed within two seconds, also by copies
that run.`,
	}
	clientFlags(cmd)
	cmd.AddCommand(a.budgetShowCommand(), a.budgetSetCommand())
	return cmd
}

func (a *app) budgetShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show [CLUSTER]", Short: "Show budgets, what is in force of them and why, and their use", Args: cobra.MaximumNArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			all, err := call(ctx, s, s.budgets.List, &tmsv1.ListBudgetsRequest{})
			if err != nil {
				return err
			}
			if len(args) == 1 {
				all.Budgets = slices.DeleteFunc(all.Budgets, func(b *tmsv1.Budget) bool { return b.GetCluster() != args[0] })
				if len(all.Budgets) == 0 {
					return fmt.Errorf("cluster %q has no budget (see tms budget show)", args[0])
				}
			}
			if s.json {
				return writeMessage(a.out, all)
			}
			return a.printBudgets(all)
		}),
	}
}

// budgetFlags are the fields of a budget; those that were given are sent.
type budgetFlags struct {
	cluster                                string
	reset, adapt                           bool
	tenants, tasks, updates, pending, heap int32
	documents, slowdown                    float64
	latency                                time.Duration
}

func (a *app) budgetSetCommand() *cobra.Command {
	var f budgetFlags
	cmd := &cobra.Command{
		Use: "set", Short: "Change a budget for all processes, live", Args: cobra.NoArgs,
		Example: "  tms budget set --documents-per-second 2000 --search-slowdown 1.5\n  tms budget set --reset",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		b, err := call(ctx, s, s.budgets.Set, f.request(cmd))
		if err != nil {
			return err
		}
		if s.json {
			return writeMessage(a.out, b)
		}
		return a.printBudget(b)
	})
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", "default", "the cluster")
	flags.BoolVar(&f.reset, "reset", false, "give up what was set before: the settings of the processes count again")
	flags.Int32Var(&f.tenants, "tenants", 0, "tenants in work at once, over all rollouts")
	flags.Int32Var(&f.tasks, "copy-tasks", 0, "copy tasks at once")
	flags.Int32Var(&f.updates, "state-updates", 0, "updates of the cluster's state in flight")
	flags.Float64Var(&f.documents, "documents-per-second", 0, "documents copied, or read to be compared, per second; 0 for no limit")
	flags.BoolVar(&f.adapt, "adapt", true, "use less while the cluster is under pressure")
	flags.DurationVar(&f.latency, "search-latency", 0, "pressure when a small search takes longer; 0 does not look")
	flags.Float64Var(&f.slowdown, "search-slowdown", 0, "pressure when a small search takes so many times as long as at best, such as 1.5; 0 does not look")
	flags.Int32Var(&f.pending, "pending-tasks", 0, "pressure from so many pending tasks of the cluster on; 0 does not look")
	flags.Int32Var(&f.heap, "heap-percent", 0, "pressure from so full a heap of any node on; 0 does not look")
	return cmd
}

func (f *budgetFlags) request(cmd *cobra.Command) *tmsv1.SetBudgetRequest {
	given := cmd.Flags().Changed
	r := &tmsv1.SetBudgetRequest{Cluster: f.cluster, Reset_: f.reset}
	for name, field := range map[string]struct {
		to   **int32
		from *int32
	}{
		"tenants": {&r.Tenants, &f.tenants}, "copy-tasks": {&r.CopyTasks, &f.tasks}, "state-updates": {&r.StateUpdates, &f.updates},
		"pending-tasks": {&r.PendingTasks, &f.pending}, "heap-percent": {&r.HeapPercent, &f.heap},
	} {
		if given(name) {
			*field.to = field.from
		}
	}
	if given("documents-per-second") {
		r.DocumentsPerSecond = &f.documents
	}
	if given("search-slowdown") {
		r.SearchSlowdown = &f.slowdown
	}
	if given("adapt") {
		r.Adapt = &f.adapt
	}
	if given("search-latency") {
		r.SearchLatency = durationpb.New(f.latency)
	}
	return r
}

func (a *app) printBudgets(all *tmsv1.ListBudgetsResponse) error {
	if stop := all.GetStop(); stop != nil {
		if _, err := fmt.Fprintln(a.out, stopText(stop)+"\n"); err != nil {
			return err
		}
	}
	for i, b := range all.GetBudgets() {
		if i > 0 {
			if _, err := fmt.Fprintln(a.out); err != nil {
				return err
			}
		}
		if err := a.printBudget(b); err != nil {
			return err
		}
	}
	return nil
}

// stopText says that everything is stopped.
func stopText(s *tmsv1.Stop) string {
	return fmt.Sprintf("all rollouts are stopped since %s by %s: %s (tms upgrade resume-all lets them go on)", stamp(s.GetStopTime()), s.GetStoppedBy(), s.GetReason())
}

func (a *app) printBudget(b *tmsv1.Budget) error {
	f, u := b.GetInForce(), b.GetUse()
	row := func(name, field string, chosen, force, used any) []string {
		from := "environment"
		if slices.Contains(b.GetSetFields(), field) {
			from = "set"
		}
		return []string{name, fmt.Sprint(chosen), fmt.Sprint(force), fmt.Sprint(used), from}
	}
	if err := writeFields(a.out, "cluster", b.GetCluster(), "in force", inForceText(b), "looked at", vitalsText(b.GetVitals())); err != nil {
		return err
	}
	return writeTable(a.out, []string{"", "budget", "in force", "used", "from"}, [][]string{
		row("tenants", "tenants", b.GetTenants(), f.GetTenants(), u.GetTenants()),
		row("copy tasks", "copy_tasks", b.GetCopyTasks(), f.GetCopyTasks(), u.GetCopyTasks()),
		row("state updates", "state_updates", b.GetStateUpdates(), f.GetStateUpdates(), u.GetStateUpdates()),
		row("documents per second", "documents_per_second", limitText(b.GetDocumentsPerSecond()), limitText(f.GetDocumentsPerSecond()), fmt.Sprintf("%.0f", u.GetDocumentsPerSecond())),
	})
}

// limitText is a limit that 0 is none of.
func limitText(n float64) string {
	if n == 0 {
		return "unlimited"
	}
	return fmt.Sprintf("%.0f", n)
}

// inForceText says how much of a budget is in force, and why.
func inForceText(b *tmsv1.Budget) string {
	switch f := b.GetInForce(); {
	case b.GetReason() != "":
		return fmt.Sprintf("%.0f%% since %s: %s", f.GetLevel()*100, stamp(b.GetSlowedTime()), b.GetReason())
	case !b.GetAdapt():
		return "all of it, whatever the cluster says"
	}
	return "all of it"
}

func vitalsText(v *tmsv1.ClusterVitals) string {
	if v == nil {
		return "never: nothing has been upgraded yet"
	}
	if v.GetProblem() != "" {
		return stamp(v.GetSampleTime()) + ": " + v.GetProblem()
	}
	text := fmt.Sprintf("%s: %d pending tasks, heap %d%%, %d searches and %d writes rejected so far",
		stamp(v.GetSampleTime()), v.GetPendingTasks(), v.GetHeapPercent(), v.GetRejectedSearches(), v.GetRejectedWrites())
	if v.GetSearchLatency() != nil {
		text += fmt.Sprintf(", a small search %s", v.GetSearchLatency().AsDuration().Round(10*time.Microsecond))
		if best := v.GetBestSearchLatency().AsDuration(); best > 0 {
			text += fmt.Sprintf(", at best %s", best.Round(10*time.Microsecond))
		}
	}
	if v.GetDiskLimit() > 0 {
		text += fmt.Sprintf(", disk at %.0f%% of its watermark", 100*float64(v.GetDiskUsed())/float64(v.GetDiskLimit()))
	}
	return text
}

func (a *app) upgradeStopAllCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "stop-all --reason REASON", Short: "Stop all rollouts at once, until resume-all",
		Long: `Stop all rollouts at once, until resume-all.

Nothing new starts, in any rollout and on any cluster. Copies come to rest
within two seconds and keep their place; fences are lifted or, where the switch
was asked for already, finished. What was cancelled is still removed. It
survives restarts and is in the audit trail.`,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		r, err := call(ctx, s, s.budgets.StopAll, &tmsv1.StopAllRequest{Reason: reason})
		if err != nil {
			return err
		}
		if s.json {
			return writeMessage(a.out, r)
		}
		_, err = fmt.Fprintln(a.out, stopText(r.GetStop()))
		return err
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for all who find their rollouts stopped")
	needs(cmd, "reason")
	return cmd
}

func (a *app) upgradeResumeAllCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume-all", Short: "Let all rollouts go on after stop-all",
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
			r, err := call(ctx, s, s.budgets.ResumeAll, &tmsv1.ResumeAllRequest{})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, r)
			}
			_, err = fmt.Fprintln(a.out, "all rollouts go on")
			return err
		}),
	}
}
