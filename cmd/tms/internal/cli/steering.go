package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeCancelCommand() *cobra.Command {
	var undo bool
	var cmd *cobra.Command
	cmd = a.rolloutCommand(rolloutCommand{
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

func (a *app) upgradeSwitchCommand() *cobra.Command {
	row := rolloutCommand{
		name: "switch", short: "Let tenants pass that wait because of --switch hold: all, a wave, or some", goal: goalSwitched,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Switch, &tmsv1.SwitchRolloutRequest{Id: id, Tenants: only})
		},
	}
	return a.rolloutCommand(row)
}

func (a *app) upgradeRollbackCommand() *cobra.Command {
	row := rolloutCommand{
		name: "rollback", short: "Return switched tenants to the release they came from: all, a wave, or some", goal: goalRolledBack,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Rollback, &tmsv1.RollbackRolloutRequest{Id: id, Tenants: only})
		},
	}
	return a.rolloutCommand(row)
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
