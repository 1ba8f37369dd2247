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

func (a *app) upgradeCancelCommand() *cobra.Command {
	var undo bool
	cmd := a.rolloutCommand(rolloutCommand{
		name: "cancel", short: "Undo what is not switched yet and end the rollout",
		goal: func(t *tmsv1.RolloutTenant, named bool) bool {
			if undo {
				return goalCancelled(t, named) && t.GetState() != "switched" || goalRolledBack(t, named) && t.GetState() != "failed"
			}
			return goalCancelled(t, named)
		},
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Cancel, &tmsv1.CancelRolloutRequest{Id: id, Tenants: only, Undo: undo})
		},
	})
	cmd.Flags().BoolVar(&undo, "undo", false, "also roll back what is switched")
	return cmd
}

// waveFlag narrows a command to a wave, also what --wait waits for.
func waveFlag(row *rolloutCommand, wave *int32) {
	row.chosen = func(r *tmsv1.Rollout, only []string) []string {
		if *wave == 0 {
			return only
		}
		var of []string
		for _, t := range r.GetTenants() {
			if t.GetWave() == *wave && (len(only) == 0 || slices.Contains(only, t.GetTenantId())) {
				of = append(of, t.GetTenantId())
			}
		}
		return of
	}
}

func (a *app) upgradeSwitchCommand() *cobra.Command {
	var wave int32
	row := rolloutCommand{
		name: "switch", short: "Let tenants pass that wait because of --switch hold: all, a wave, or some", goal: goalSwitched,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Switch, &tmsv1.SwitchRolloutRequest{Id: id, Tenants: only, Wave: wave})
		},
	}
	waveFlag(&row, &wave)
	cmd := a.rolloutCommand(row)
	cmd.Flags().Int32Var(&wave, "wave", 0, "only the tenants of this wave")
	return cmd
}

func (a *app) upgradeRollbackCommand() *cobra.Command {
	var wave int32
	row := rolloutCommand{
		name: "rollback", short: "Return switched tenants to the release they came from: all, a wave, or some", goal: goalRolledBack,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Rollback, &tmsv1.RollbackRolloutRequest{Id: id, Tenants: only, Wave: wave})
		},
	}
	waveFlag(&row, &wave)
	cmd := a.rolloutCommand(row)
	cmd.Flags().Int32Var(&wave, "wave", 0, "only the tenants of this wave")
	return cmd
}

func (a *app) upgradeSkipCommand() *cobra.Command {
	var tenants []string
	var reason string
	cmd := &cobra.Command{
		Use: "skip ROLLOUT --tenant TENANT --reason REASON", Short: "Leave tenants out of a rollout; what was begun is undone", Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		r, err := call(ctx, s, s.upgrades.Skip, &tmsv1.SkipRolloutRequest{Id: args[0], Tenants: unique(tenants), Reason: reason})
		if err != nil {
			return err
		}
		return a.printRollout(s, r)
	})
	cmd.Flags().StringSliceVar(&tenants, "tenant", nil, "the tenant to leave out; may be repeated")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is in the report of the rollout")
	needs(cmd, "tenant", "reason")
	return cmd
}

// liveFlags are the options of a rollout that can be changed while it runs.
type liveFlags struct {
	concurrency       int32
	requestsPerSecond float64
	fenceTimeout      time.Duration
	hold              bool
}

func (a *app) upgradeSetCommand() *cobra.Command {
	var f liveFlags
	cmd := &cobra.Command{
		Use: "set ROLLOUT", Short: "Change options of a running rollout", Args: cobra.ExactArgs(1),
		Long: `Change options of a running rollout.

Every process obeys within two seconds: copies that run get their new pace,
tenants that are not fenced yet are held, or let pass. Tenants in flight stay
so; with a new --concurrency more or fewer begin.`,
		Example: "  tms upgrade set ROLLOUT --requests-per-second 500\n  tms upgrade set ROLLOUT --concurrency 2 --switch hold",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		r := &tmsv1.SetRolloutRequest{Id: args[0]}
		given := cmd.Flags().Changed
		if given("concurrency") {
			r.MaxTenants = &f.concurrency
		}
		if given("requests-per-second") {
			r.RequestsPerSecond = &f.requestsPerSecond
		}
		if given("fence-timeout") {
			r.FenceTimeout = durationpb.New(f.fenceTimeout)
		}
		if given("switch") {
			r.HoldSwitch = &f.hold
		}
		if !given("concurrency") && !given("requests-per-second") && !given("fence-timeout") && !given("switch") {
			return usage(cmd, fmt.Errorf("nothing is to be changed: give --concurrency, --requests-per-second, --fence-timeout or --switch"))
		}
		set, err := call(ctx, s, s.upgrades.Set, r)
		if err != nil {
			return err
		}
		return a.printRollout(s, set)
	})
	flags := cmd.Flags()
	flags.Int32Var(&f.concurrency, "concurrency", 0, "tenants in flight at once")
	flags.Float64Var(&f.requestsPerSecond, "requests-per-second", 0, "documents per second of each copy; 0 is unthrottled")
	flags.DurationVar(&f.fenceTimeout, "fence-timeout", 0, "longest time in which a tenant's writes may be refused")
	flags.Var((*switchMode)(&f.hold), "switch", "auto, or hold to have all tenants that are not fenced wait for tms upgrade switch")
	return cmd
}
