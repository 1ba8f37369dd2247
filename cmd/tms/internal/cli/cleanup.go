package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) cleanupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Remove versions of indices that nobody uses any more",
		Long: `Remove versions of Tracardi's indices that nobody uses any more, by exact
names. A version that any alias or any tenant uses is refused, and so is one
that no snapshot of the last seven days holds, unless that is waived.`,
	}
	clientFlags(cmd)
	cmd.AddCommand(a.cleanupPlanCommand(), a.cleanupRunCommand())
	return cmd
}

func (a *app) cleanupPlanCommand() *cobra.Command {
	var r tmsv1.PlanCleanupRequest
	cmd := &cobra.Command{
		Use: "plan", Short: "List what a run would delete, and all that stands in its way; nothing is changed",
		Long: `List what a run would delete, and all that stands in its way. Nothing is
changed. Exit code 3 when something stands in the way.`,
		Example: "  tms cleanup plan --version 0.8.1\n  tms cleanup plan --version 0.8.1 --tenant acme -o json",
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		p, err := call(ctx, s, s.cleanups.Plan, &r)
		if err != nil {
			return err
		}
		if s.json {
			err = writeMessage(a.out, p)
		} else {
			err = a.printCleanup(p)
		}
		if err == nil && len(p.GetRefusals()) > 0 {
			err = &refusedError{p.GetRefusals()}
		}
		return err
	})
	cmd.Flags().StringVar(&r.Version, "version", "", "release to remove, or the prefix of its index names")
	cmd.Flags().StringSliceVar(&r.Tenants, "tenant", nil, "only these tenants; none means all")
	cmd.Flags().StringVar(&r.Cluster, "cluster", "", "cluster to remove it from; needed where there are several")
	cmd.Flags().BoolVar(&r.WithoutSnapshot, "without-snapshot", false, "do without the snapshots that a run needs")
	needs(cmd, "version")
	return cmd
}

func (a *app) cleanupRunCommand() *cobra.Command {
	var r tmsv1.RunCleanupRequest
	var wait bool
	cmd := &cobra.Command{
		Use: "run", Short: "Delete what was planned; it can only come back from a snapshot",
		Long: `Delete what was planned: the exact names that the plan's digest stands for.
When the cluster has changed since, nothing is deleted. The work goes on in the
background, at most 400 indices a minute, also when a process dies.`,
		Example: "  tms cleanup run --version 0.8.1 --digest 0123456789abcdef --wait",
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		op, err := call(ctx, s, s.cleanups.Run, &r)
		if err == nil && wait {
			op, err = a.awaitOperation(ctx, s, op)
		}
		if err != nil {
			return err
		}
		return a.printEnd(s, op)
	})
	cmd.Flags().StringVar(&r.Version, "version", "", "as in the plan")
	cmd.Flags().StringSliceVar(&r.Tenants, "tenant", nil, "as in the plan")
	cmd.Flags().StringVar(&r.Cluster, "cluster", "", "as in the plan")
	cmd.Flags().StringVar(&r.Digest, "digest", "", "of the plan that you have looked at")
	cmd.Flags().BoolVar(&r.WithoutSnapshot, "without-snapshot", false, "delete although no snapshot holds it; audited")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end")
	needs(cmd, "version", "digest")
	return cmd
}

func (a *app) printCleanup(p *tmsv1.CleanupPlan) error {
	rows := make([][]string, len(p.GetTenants()))
	var indices, templates, shards int64
	for i, t := range p.GetTenants() {
		rows[i] = []string{
			t.GetTenantId(), t.GetRelease(), fmt.Sprint(len(t.GetIndices())), fmt.Sprint(len(t.GetTemplates())), fmt.Sprint(len(t.GetCorrections())),
			fmt.Sprint(t.GetShards()), fmt.Sprint(t.GetDocuments()), size(t.GetBytes()), orDash(t.GetSnapshot()),
		}
		indices += int64(len(t.GetIndices()))
		templates += int64(len(t.GetTemplates()))
		shards += t.GetShards()
	}
	if err := writeTable(a.out, []string{"tenant", "is on", "indices", "templates", "aliases corrected", "shards", "documents", "bytes", "snapshot"}, rows); err != nil {
		return err
	}
	for _, name := range p.GetLeftAlone() {
		if _, err := fmt.Fprintf(a.out, "left alone: %s is not registered (see `tms tenant discover`)\n", name); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(a.out, "version %s (%s) in cluster %s: %d indices, %d templates, %d shards\n", p.GetVersion(), p.GetPrefix(), p.GetCluster(), indices, templates, shards); err != nil {
		return err
	}
	if p.GetDigest() == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "digest: %s\n", p.GetDigest())
	return err
}
