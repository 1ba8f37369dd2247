package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// span is a flag for a time that may be given in days.
type span time.Duration

func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

func (s *span) Set(text string) error {
	d, err := days(text)
	if err != nil {
		return err
	}
	if d.AsDuration() <= 0 {
		return fmt.Errorf("%q: write a number of days as 30d, or hours as 12h", text)
	}
	*s = span(d.AsDuration())
	return nil
}

func (s *span) Type() string { return "time" }

// limitFlags are options of a rollout that outlive its last copy.
type limitFlags struct {
	raiseShardLimit bool
	finalizeAfter   span
}

func (f *limitFlags) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.raiseShardLimit, "raise-shard-limit", false, "where only the shard limit is in the way, raise cluster.max_shards_per_node as far as needed, and put it back")
	cmd.Flags().Var(&f.finalizeAfter, "finalize-after", "delete old versions by itself so long after the last tenant was switched, such as 7d, given a snapshot of them")
}

func (f *limitFlags) put(o *tmsv1.RolloutOptions) {
	o.RaiseShardLimit = f.raiseShardLimit
	if f.finalizeAfter != 0 {
		o.FinalizeAfter = durationpb.New(time.Duration(f.finalizeAfter))
	}
}

// finalizeAfter says when a rollout's old versions are deleted.
func (a *app) finalizeAfter(ctx context.Context, s *session, id string, after time.Duration) (*tmsv1.Rollout, error) {
	return call(ctx, s, s.upgrades.Retain, &tmsv1.RetainRolloutRequest{Id: id, FinalizeAfter: durationpb.New(after)})
}

func (a *app) upgradeKeepCommand() *cobra.Command {
	cmd := a.rolloutCommand(rolloutCommand{
		name: "keep", short: "Keep the old versions of a rollout until tms upgrade finalize", whole: true,
		send: func(ctx context.Context, s *session, id string, _ []string) (*tmsv1.Rollout, error) {
			return call(ctx, s, s.upgrades.Retain, &tmsv1.RetainRolloutRequest{Id: id})
		},
	})
	cmd.Long = cmd.Short + `.

It takes back what --finalize-after of the start, or tms upgrade finalize
--after, has scheduled, as long as nothing is deleted yet.`
	return cmd
}

// printLimits prints what a rollout owes the cluster, and its old versions.
func (a *app) printLimits(r *tmsv1.Rollout) error {
	var pairs []string
	for _, l := range r.GetShardLimits() {
		name := "shard limit"
		if len(r.GetShardLimits()) > 1 {
			name += " of " + l.GetCluster()
		}
		pairs = append(pairs, name, l.GetText())
	}
	if ret := r.GetRetention(); ret != nil {
		pairs = append(pairs, "old versions", ret.GetText())
	}
	if len(pairs) == 0 {
		return nil
	}
	return writeFields(a.out, pairs...)
}
