package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/clusters"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
)

func (a *app) capacityCommand() *cobra.Command {
	var r tmsv1.GetCapacityRequest
	cmd := &cobra.Command{
		Use: "capacity", Short: "Show how full each cluster is, and how many more tenants fit",
		Long: `Show how full each cluster is, and how many more tenants fit: at the release
that they are on, and so that one wave of the next upgrade fits, too, whose
tenants stand with both versions until it is finalized. What a tenant needs is
measured on those that are there. Nothing is changed.

Exit code 1 when a cluster does not answer.`,
		Example: "  tms capacity\n  tms capacity --wave 20 -o json",
		Args:    cobra.NoArgs,
	}
	clientFlags(cmd)
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		all, err := call(ctx, s, s.clusters.Capacity, &r)
		if err != nil {
			return err
		}
		if s.json {
			err = writeMessages(a.out, all.GetClusters())
		} else {
			err = a.printCapacity(all.GetClusters())
		}
		for _, c := range all.GetClusters() {
			if err == nil && c.GetProblem() != "" {
				err = &outcomeError{"cluster " + c.GetCluster() + " does not answer: " + c.GetProblem()}
			}
		}
		return err
	})
	cmd.Flags().StringSliceVar(&r.Clusters, "cluster", nil, "only these clusters; none means all")
	cmd.Flags().Int32Var(&r.Wave, "wave", upgrader.DefaultMaxTenants, "tenants of one wave of the next upgrade")
	return cmd
}

func (a *app) printCapacity(all []*tmsv1.ClusterCapacity) error {
	var rows [][]string
	for _, c := range all {
		if c.GetProblem() != "" {
			rows = append(rows, []string{c.GetCluster(), "-", "-", "-", "-", "-", "-", "-"})
			continue
		}
		n := c.GetNeed()
		rows = append(rows, []string{
			c.GetCluster(), strconv.Itoa(int(c.GetDataNodes())), residentsText(c),
			fmt.Sprintf("%d of %d", c.GetShardsOpen(), c.GetShardsLimit()), diskText(c),
			fmt.Sprintf("%d shards, %s", n.GetShards(), size(n.GetBytes())),
			fitsText(c.GetFits()), fitsText(c.GetFitsDuringUpgrade()),
		})
	}
	if err := writeTable(a.out, []string{"cluster", "data nodes", "tenants", "shards", "disk", "a tenant needs", "fit", "fit with a wave"}, rows); err != nil {
		return err
	}
	for _, c := range all {
		if _, err := fmt.Fprintf(a.out, "%s: %s\n", c.GetCluster(), capacityText(c)); err != nil {
			return err
		}
	}
	return nil
}

// capacityText is the advice, and what it rests on.
func capacityText(c *tmsv1.ClusterCapacity) string {
	if c.GetProblem() != "" {
		return c.GetAdvice()
	}
	n := c.GetNeed()
	basis := fmt.Sprintf("measured on %d, the largest needs %d shards and %s", n.GetMeasured(), n.GetLargestShards(), size(n.GetLargestBytes()))
	if n.GetMeasured() == 0 {
		basis = "counted from the newest release, as no tenant is there to measure; documents are not counted"
	}
	return fmt.Sprintf("%s (%s; waves of %d)", c.GetAdvice(), basis, c.GetWave())
}

func residentsText(c *tmsv1.ClusterCapacity) string {
	text := strconv.FormatInt(c.GetTenants(), 10)
	if c.GetPending() > 0 {
		text += fmt.Sprintf(", %d to come", c.GetPending())
	}
	return text
}

func diskText(c *tmsv1.ClusterCapacity) string {
	if c.GetDiskLimit() == 0 {
		return size(c.GetDiskUsed()) + ", not watched"
	}
	return fmt.Sprintf("%s of %s", size(c.GetDiskUsed()), size(c.GetDiskLimit()))
}

func fitsText(n int64) string {
	if clusters.Unbounded(int(n)) {
		return "any"
	}
	return strconv.FormatInt(n, 10)
}
