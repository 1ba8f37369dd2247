package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeApproveCommand() *cobra.Command {
	var wave int32
	var waive bool
	cmd := &cobra.Command{
		Use: "approve ROLLOUT", Short: "Let a rollout go on after a wave", Args: cobra.ExactArgs(1),
		Long: `Let a rollout go on after a wave.

Without --wave it is the one that awaits approval. A wave may be approved before
it is done, and again without effect.`,
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		if wave < 0 {
			return usage(cmd, fmt.Errorf("--wave: %d: give the number of a wave", wave))
		}
		r, err := call(ctx, s, s.upgrades.Approve, &tmsv1.ApproveRolloutRequest{Id: args[0], Wave: wave, WaiveChecks: waive})
		if err != nil {
			return err
		}
		return a.printRollout(s, r)
	})
	cmd.Flags().Int32Var(&wave, "wave", 0, "number of the wave whose result is approved")
	cmd.Flags().BoolVar(&waive, "waive-checks", false, "go on although checks do not pass; audited")
	return cmd
}

func (a *app) upgradeGatesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "gates ROLLOUT [TENANT]", Short: "Tell whether a tenant may start now, and if not, why", Args: cobra.RangeArgs(1, 2),
		Long: `Tell whether a tenant may start now, and if not, why.

Without a tenant it is about those of each wave that wait. A tenant that was let
in is asked no more; its gates tell what they would say now.`,
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			request := &tmsv1.RolloutGatesRequest{Id: args[0]}
			if len(args) > 1 {
				request.TenantId = args[1]
			}
			g, err := call(ctx, s, s.upgrades.Gates, request)
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, g)
			}
			return a.printGates(g)
		}),
	}
}

func (a *app) printGates(g *tmsv1.RolloutGates) error {
	if len(g.GetReports()) == 0 {
		_, err := fmt.Fprintln(a.out, "no tenant waits for gates")
		return err
	}
	var rows [][]string
	left := false
	for _, r := range g.GetReports() {
		of := gateRows(r)
		left = left || len(of) < len(r.GetGates())
		rows = append(rows, of...)
	}
	if err := writeTable(a.out, []string{"wave", "cluster", "tenant", "gate", "is", "why"}, rows); err != nil || !left {
		return err
	}
	_, err := fmt.Fprintln(a.out, "gates that are open are left out; name a tenant to see all of its own")
	return err
}

// gateRows are what the gates say: all of them of one tenant, of a whole wave
// those that are closed.
func gateRows(r *tmsv1.GateReport) [][]string {
	who, whole := r.GetTenantId(), r.GetTenantId() == ""
	if whole {
		who = "all that wait"
	}
	row := func(gate, is, why string) []string {
		return []string{fmt.Sprint(r.GetWave()), r.GetCluster(), who, gate, is, why}
	}
	if whole && r.GetOpen() {
		return [][]string{row("all", "open", "")}
	}
	var rows [][]string
	for _, v := range r.GetGates() {
		switch {
		case !v.GetOpen():
			why := v.GetReason()
			if v.GetRemedy() != "" {
				why += " (" + v.GetRemedy() + ")"
			}
			rows = append(rows, row(v.GetGate(), "closed", why))
		case !whole:
			rows = append(rows, row(v.GetGate(), "open", ""))
		}
	}
	return rows
}

// printWaves prints the waves of a rollout, unless there is but one without a
// story.
func (a *app) printWaves(r *tmsv1.Rollout) error {
	if len(r.GetWaves()) < 2 && len(r.GetMissing()) == 0 {
		return nil
	}
	var rows [][]string
	for _, w := range r.GetWaves() {
		reason := w.GetReason()
		if w.GetState() == "soaking" {
			reason = "until " + stamp(w.GetSoakUntil())
		}
		if w.GetApprovedBy() != "" {
			reason = joined(reason, "approved by "+w.GetApprovedBy())
		}
		rows = append(rows, []string{
			fmt.Sprint(w.GetNumber()), w.GetName(), w.GetState(), fmt.Sprintf("%d/%d", w.GetEnded(), w.GetTenants()), fmt.Sprint(w.GetFailed()), stamp(w.GetOpenTime()), reason,
		})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	if err := writeTable(a.out, []string{"wave", "name", "state", "ended", "failed", "opened", "reason"}, rows); err != nil {
		return err
	}
	for _, m := range r.GetMissing() {
		if _, err := fmt.Fprintf(a.out, "missing: tenant %s on %s: %s\n", m.GetTenantId(), m.GetRelease(), m.GetReason()); err != nil {
			return err
		}
	}
	return nil
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// printWavePlans prints the waves that a plan would have.
func (a *app) printWavePlans(p *tmsv1.RolloutPlan) error {
	if p.GetOptions().GetStrategy() == nil || len(p.GetWaves()) == 0 {
		return nil
	}
	several := len(p.GetClusters()) > 1
	header := []string{"wave", "name", "tenants", "documents", "new shards", "shards at most", "disk at most", "takes", "then", "failures"}
	if several {
		header = slices.Insert(header, 2, "cluster")
	}
	var rows [][]string
	for _, w := range p.GetWaves() {
		took := "unknown"
		if w.GetDurationSeconds() > 0 {
			took = time.Duration(w.GetDurationSeconds() * float64(time.Second)).Round(time.Second).String()
		}
		row := []string{
			fmt.Sprint(w.GetNumber()), w.GetName(), fmt.Sprint(w.GetTenants()), fmt.Sprint(w.GetDocuments()), fmt.Sprint(w.GetShards()),
			orFinalizing(fmt.Sprint(w.GetShardsPeak()), fmt.Sprint(w.GetShardsPeakFinalizing())), orFinalizing(size(w.GetDiskPeak()), size(w.GetDiskPeakFinalizing())),
			took, w.GetBetween(), w.GetFailureBudget(),
		}
		if several {
			row = slices.Insert(row, 2, w.GetCluster())
		}
		rows = append(rows, row)
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, header, rows)
}

// orFinalizing adds in brackets what it would be if every wave were finalized
// before the next, where that makes a difference.
func orFinalizing(is, would string) string {
	if is == would {
		return is
	}
	return is + " (" + would + ")"
}
