package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// rolloutCommand is a command to a rollout.
type rolloutCommand struct {
	name, short string
	// send asks the server; only narrows the command to tenants.
	send func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error)
	// whole commands are for the rollout, not for single tenants.
	whole bool
	// goal is what --wait waits for; nil has nothing to wait for.
	goal goal
	// chosen, where there is more to choose by than --tenant, lists the tenants
	// to wait for.
	chosen func(r *tmsv1.Rollout, only []string) []string
}

// upgradeCommands are the commands to a running or ended rollout, one row
// each. Those with flags of their own are below and in steering.go.
func (a *app) upgradeCommands() []*cobra.Command {
	rows := []rolloutCommand{
		{name: "pause", short: "Start nothing new; copies that run go on, no tenant stays fenced", whole: true,
			send: func(ctx context.Context, s *session, id string, _ []string) (*tmsv1.Rollout, error) {
				return call(ctx, s, s.upgrades.Pause, &tmsv1.PauseRolloutRequest{Id: id})
			}},
		{name: "resume", short: "Undo pause", whole: true, goal: goalSwitched,
			send: func(ctx context.Context, s *session, id string, _ []string) (*tmsv1.Rollout, error) {
				return call(ctx, s, s.upgrades.Resume, &tmsv1.ResumeRolloutRequest{Id: id})
			}},
	}
	commands := make([]*cobra.Command, 0, len(rows)+2)
	for _, row := range rows {
		commands = append(commands, a.rolloutCommand(row))
	}
	return append(commands, a.upgradeCancelCommand(), a.upgradeSetCommand(), a.upgradeSkipCommand(), a.upgradeSwitchCommand(), a.upgradeRollbackCommand(),
		a.upgradeRetryCommand(), a.upgradeFinalizeCommand(), a.upgradeKeepCommand())
}

func (a *app) upgradeFinalizeCommand() *cobra.Command {
	var waiver bool
	var after span
	var wave int32
	row := rolloutCommand{
		name: "finalize", short: "Delete the old version of switched tenants; there is no way back afterwards", goal: goalFinalized,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			if after != 0 {
				return a.finalizeAfter(ctx, s, id, time.Duration(after))
			}
			return call(ctx, s, s.upgrades.Finalize, &tmsv1.FinalizeRolloutRequest{Id: id, Tenants: only, WithoutSnapshot: waiver, Wave: wave})
		},
	}
	waveFlag(&row, &wave)
	cmd := a.rolloutCommand(row)
	cmd.Flags().Int32Var(&wave, "wave", 0, "only the tenants of this wave")
	cmd.Long = cmd.Short + `.

A successful snapshot must hold the old version of every tenant, taken at most a
day before the rollout began; or waive it with --without-snapshot, which is
audited. With --after nothing is deleted now, but by TMS itself at the time
given; "tms upgrade keep" takes that back.`
	cmd.Flags().Var(&after, "after", "delete them by itself so long after the last tenant was switched, such as 7d; changes --finalize-after of the start")
	cmd.Flags().BoolVar(&waiver, "without-snapshot", false, "delete although no snapshot holds the old version; audited")
	cmd.MarkFlagsMutuallyExclusive("after", "without-snapshot")
	cmd.MarkFlagsMutuallyExclusive("after", "wait")
	cmd.MarkFlagsMutuallyExclusive("after", "tenant")
	cmd.MarkFlagsMutuallyExclusive("after", "wave")
	return cmd
}

func (a *app) upgradeRetryCommand() *cobra.Command {
	var allow int32
	var cmd *cobra.Command
	cmd = a.rolloutCommand(rolloutCommand{
		name: "retry", short: "Let failed tenants go on from where they stood", goal: goalSwitched,
		send: func(ctx context.Context, s *session, id string, only []string) (*tmsv1.Rollout, error) {
			request := &tmsv1.RetryRolloutRequest{Id: id, Tenants: only}
			if cmd.Flags().Changed("allow-quarantine") {
				request.AllowQuarantine = &allow
			}
			return call(ctx, s, s.upgrades.Retry, request)
		},
	})
	cmd.Flags().Int32Var(&allow, "allow-quarantine", 0, "new number of quarantined documents per tenant; default keeps the old one")
	return cmd
}

func (a *app) rolloutCommand(row rolloutCommand) *cobra.Command {
	var only []string
	var wait bool
	cmd := &cobra.Command{Use: row.name + " ROLLOUT", Short: row.short, Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		chosen := unique(only)
		r, err := row.send(ctx, s, args[0], chosen)
		if err != nil {
			return a.refusal(s, err)
		}
		if row.chosen != nil {
			chosen = row.chosen(r, chosen)
		}
		if !wait {
			return a.printRollout(s, r)
		}
		return a.waitFor(ctx, s, r, chosen, row.goal)
	})
	if !row.whole {
		cmd.Flags().StringSliceVar(&only, "tenant", nil, "only this tenant; may be repeated; default is all that the command fits")
	}
	if row.goal != nil {
		cmd.Flags().BoolVar(&wait, "wait", false, "follow the rollout until it is done")
	}
	return cmd
}
