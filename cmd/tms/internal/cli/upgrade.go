package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Plan, run and watch upgrades of the fleet",
		Long: `Plan, run and watch upgrades of the fleet.

A rollout takes tenants to another release. "plan" shows what would happen,
"start" begins it, "watch" follows it; "rollback" returns switched tenants
until "finalize" has deleted their old version.`,
	}
	clientFlags(cmd)
	cmd.AddCommand(a.upgradePlanCommand(), a.upgradeStartCommand(), a.upgradeWatchCommand(), a.upgradeListCommand(), a.upgradeShowCommand(), a.upgradeQuarantineCommand(),
		a.upgradeProofCommand(), a.upgradeMismatchesCommand(), a.upgradeRepairCommand())
	cmd.AddCommand(a.upgradeStopAllCommand(), a.upgradeResumeAllCommand())
	cmd.AddCommand(a.upgradeApproveCommand(), a.upgradeGatesCommand(), a.upgradeSchemaCommand())
	cmd.AddCommand(a.upgradeCommands()...)
	cmd.AddCommand(a.upgradeProgressCommands()...)
	return cmd
}

// rolloutFlags are the options of a rollout.
type rolloutFlags struct {
	to, verify                  string
	tenants, clusters           []string
	allowQuarantine, maxTenants int32
	holdSwitch                  bool
	requireRehearsal            bool
	fenceTimeout                time.Duration
	requestsPerSecond           float64
	snapshot                    string
	repositories                []string
	methods                     []string
	limitFlags
	waveFlags
	moves bool // plan: every target index
}

func (f *rolloutFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "release to reach, see tms release list")
	flags.StringSliceVar(&f.tenants, "tenant", nil, "only this tenant; may be repeated; default is the whole fleet")
	flags.StringSliceVar(&f.clusters, "cluster", nil, "only tenants that live in this cluster, see tms cluster list; may be repeated; default is all clusters")
	flags.StringVar(&f.verify, "verify", "", "how much of every copy is compared: count, sample or full (default full)")
	flags.Int32Var(&f.allowQuarantine, "allow-quarantine", 0, "quarantined documents per tenant up to which it is switched")
	flags.Int32Var(&f.maxTenants, "max-tenants", 0, "tenants in flight at once (default 4)")
	flags.Var((*switchMode)(&f.holdSwitch), "switch", "when a tenant's fence goes up: auto, or hold to wait for tms upgrade switch")
	flags.BoolVar(&f.holdSwitch, "hold-switch", false, "the same as --switch hold")
	flags.DurationVar(&f.fenceTimeout, "fence-timeout", 0, "longest time in which a tenant's writes may be refused (default 10s)")
	flags.Float64Var(&f.requestsPerSecond, "requests-per-second", 0, "documents per second of each copy task; default is unthrottled")
	flags.StringSliceVar(&f.methods, "method", nil, "how indices get their documents: create, clone, reindex or merge, for all resources that allow it; or RESOURCE=METHOD for one; may be repeated")
	flags.StringVar(&f.snapshot, "snapshot", "", "before: take a snapshot of the tenants first, and touch nothing until it counts as a backup")
	flags.StringSliceVar(&f.repositories, "snapshot-repository", nil, "where the snapshot goes; may be left out when there is only one, and repeated for tenants of several clusters")
	f.limitFlags.bind(cmd)
	f.waveFlags.bind(cmd)
	flags.BoolVar(&f.requireRehearsal, "require-rehearsal", false, "let a tenant start only after a rehearsal of the last seven days that came out well")
	needs(cmd, "to")
}

// chosenMethods reads --method.
func (f *rolloutFlags) chosenMethods() map[string]string {
	out := map[string]string{}
	for _, m := range f.methods {
		key, method, one := strings.Cut(m, "=")
		if !one {
			key, method = "*", m // every resource that has no entry of its own
		}
		out[key] = method
	}
	return out
}

func (f *rolloutFlags) options(cmd *cobra.Command) (*tmsv1.RolloutOptions, error) {
	o := &tmsv1.RolloutOptions{
		Snapshot: f.snapshot, SnapshotRepositories: unique(f.repositories),
		Tenants: unique(f.tenants), Clusters: unique(f.clusters), Verify: f.verify, AllowQuarantine: f.allowQuarantine, MaxTenants: f.maxTenants,
		HoldSwitch: f.holdSwitch, RequireRehearsal: f.requireRehearsal, RequestsPerSecond: f.requestsPerSecond, Methods: f.chosenMethods(),
	}
	f.limitFlags.put(o)
	if f.fenceTimeout != 0 {
		o.FenceTimeout = durationpb.New(f.fenceTimeout)
	}
	return o, f.waveFlags.put(cmd, o)
}

// switchMode is the flag --switch: true is hold.
type switchMode bool

func (m *switchMode) String() string {
	if *m {
		return "hold"
	}
	return "auto"
}

func (m *switchMode) Set(text string) error {
	switch text {
	case "auto":
		*m = false
	case "hold":
		*m = true
	default:
		return fmt.Errorf("%q is neither auto nor hold", text)
	}
	return nil
}

func (m *switchMode) Type() string { return "auto|hold" }

// unique sorts and drops repetitions: the same tenant named twice is no error.
func unique(ids []string) []string {
	sorted := slices.Sorted(slices.Values(ids))
	return slices.Compact(sorted)
}

func (a *app) upgradePlanCommand() *cobra.Command {
	var f rolloutFlags
	cmd := &cobra.Command{
		Use: "plan --to VERSION", Short: "Show what an upgrade would do and what stands in its way; writes nothing",
		RunE: a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
			return a.plan(ctx, cmd, s, f)
		}),
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&f.moves, "moves", false, "also a table of every target index, with its method and the reason")
	return cmd
}

func (a *app) upgradeStartCommand() *cobra.Command {
	var f rolloutFlags
	var dry, wait bool
	var requestID string
	cmd := &cobra.Command{
		Use: "start --to VERSION", Short: "Begin an upgrade of the fleet, or of some tenants",
		Long: `Begin an upgrade of the fleet, or of some tenants.

It starts, or it is refused with all reasons and exit code 3. With --wait the
command follows it to its end and returns 0 only if every tenant is switched;
progress goes to standard error, the outcome to standard output.`,
		Example: "  tms upgrade start --to 0.8.2 --dry-run\n  tms upgrade start --to 0.8.2 --tenant acme --wait -o json",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		if dry {
			return a.plan(ctx, cmd, s, f)
		}
		options, err := f.options(cmd)
		if err != nil {
			return err
		}
		if requestID == "" {
			requestID = rand.Text() // so that the call may be repeated
		}
		r, err := call(ctx, s, s.upgrades.Start, &tmsv1.StartRolloutRequest{ToRelease: f.to, Options: options, RequestId: requestID})
		if err != nil {
			return a.refusal(s, err)
		}
		if !wait {
			return a.printRollout(s, r)
		}
		return a.waitFor(ctx, s, r, nil, goalSwitched)
	})
	f.bind(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only show the plan, as tms upgrade plan does")
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the rollout to its end")
	cmd.Flags().StringVar(&requestID, "request-id", "", "makes repeated calls one; default is random")
	return cmd
}

// refusal prints the reasons of a refusal to programs; people get them from
// report.
func (a *app) refusal(s *session, err error) error {
	var refused *refusedError
	if !errors.As(asRefusal(err), &refused) || !s.json {
		return err
	}
	list := make([]any, 0, len(refused.refusals))
	for _, r := range refused.refusals {
		v, err := document(r)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	if err := writeJSON(a.out, map[string]any{"refusals": list}); err != nil {
		return err
	}
	return refused
}

func (a *app) upgradeWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch ROLLOUT", Short: "Follow a rollout to its end; exit code as of start --wait",
		Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			r, err := s.first(ctx, args[0])
			if err != nil {
				return err
			}
			return a.waitFor(ctx, s, r, nil, goalSwitched)
		}),
	}
}

func (a *app) upgradeListCommand() *cobra.Command {
	var limit int
	var clusters []string
	cmd := &cobra.Command{Use: "list", Short: "List rollouts, newest first"}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		if limit < 1 {
			return usage(cmd, fmt.Errorf("--limit: %d: give a number of rollouts", limit))
		}
		all, err := listRollouts(ctx, s, limit, unique(clusters))
		if err != nil {
			return err
		}
		if s.json {
			return a.writeRollouts(all)
		}
		var rows [][]string
		for _, r := range all {
			rows = append(rows, []string{r.GetId(), r.GetState(), r.GetToRelease(), strings.Join(clustersOf(r), ", "), tally(r), stamp(r.GetCreateTime()), seconds(r.GetSeconds()), r.GetCreatedBy(), r.GetReason()})
		}
		return writeTable(a.out, []string{"rollout", "state", "to", "clusters", "tenants", "started", "took", "by", "reason"}, rows)
	})
	cmd.Flags().IntVar(&limit, "limit", 20, "most rollouts to list")
	cmd.Flags().StringSliceVar(&clusters, "cluster", nil, "only rollouts with tenants in this cluster; may be repeated")
	return cmd
}

func listRollouts(ctx context.Context, s *session, limit int, clusters []string) ([]*tmsv1.Rollout, error) {
	const page = 100 // most that one answer holds
	var all []*tmsv1.Rollout
	for token := ""; len(all) < limit; {
		found, err := call(ctx, s, s.upgrades.List, &tmsv1.ListRolloutsRequest{PageSize: int32(min(limit-len(all), page)), PageToken: token, Clusters: clusters})
		if err != nil {
			return nil, err
		}
		all = append(all, found.GetRollouts()...)
		if token = found.GetNextPageToken(); token == "" {
			break
		}
	}
	return all, nil
}

// clustersOf are the clusters where the tenants of a rollout live, sorted.
func clustersOf(r *tmsv1.Rollout) []string {
	names := make([]string, 0, len(r.GetTenants()))
	for _, t := range r.GetTenants() {
		names = append(names, t.GetCluster())
	}
	return unique(names)
}

// tally counts the tenants of a rollout by state: "12 switched, 1 failed".
func tally(r *tmsv1.Rollout) string {
	n := map[string]int{}
	for _, t := range r.GetTenants() {
		n[t.GetState()]++
	}
	parts := make([]string, 0, len(n))
	for state, count := range n {
		parts = append(parts, fmt.Sprintf("%d %s", count, state))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (a *app) upgradeShowCommand() *cobra.Command {
	var moves bool
	cmd := &cobra.Command{Use: "show ROLLOUT", Short: "Show a rollout with its tenants", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		request := &tmsv1.GetRolloutRequest{Id: args[0]}
		if moves {
			request.View = "full"
		}
		r, err := call(ctx, s, s.upgrades.Get, request)
		if err != nil {
			return err
		}
		return a.printRollout(s, r)
	})
	cmd.Flags().BoolVar(&moves, "moves", false, "with every target index")
	return cmd
}
