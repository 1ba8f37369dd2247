package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) backupPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Take snapshots by the clock, drill them, and remove old ones",
		Long: `Take snapshots by the clock, drill them, and remove old ones.

Any TMS process does what is due, once per due time; runs that were missed while
none was there are caught up by one. Whatever the retention says, these stay:
the newest good snapshot of every registered tenant, and those that an
unfinished rollout or a running restore needs. Partial and failed snapshots, and
those whose last drill failed, do not count as backups.`,
	}
	cmd.AddCommand(a.policyCreateCommand(), a.policyListCommand(), a.policyShowCommand(), a.policyUpdateCommand(), a.policyDeleteCommand(), a.policyRunCommand())
	return cmd
}

// policyFlags are what a policy says, as flags.
type policyFlags struct {
	all           bool
	tenants       []string
	labels        []string
	expire        string
	digest, drill bool
	paused        bool
	schedule      string
	zone          string
	repository    string
	min, max      int32
}

func (f *policyFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.schedule, "schedule", "", `minute, hour, day of month, month, day of week, such as "30 2 * * *"; or @hourly, @daily, @weekly, @monthly`)
	flags.StringVar(&f.zone, "time-zone", "UTC", "time zone of the schedule, such as Europe/Warsaw")
	flags.StringVar(&f.repository, "repository", "", "where to; may be left out when there is only one")
	flags.BoolVar(&f.all, "all", false, "all tenants, those to come too")
	flags.StringSliceVar(&f.tenants, "tenant", nil, "this tenant; may be repeated")
	flags.StringSliceVar(&f.labels, "label", nil, "tenants that have this label at the time, as name=value; may be repeated")
	flags.StringVar(&f.expire, "expire-after", "", "remove what is older, such as 30d or 12h; empty keeps for ever")
	flags.Int32Var(&f.min, "min", 0, "keep at least so many good ones, however old")
	flags.Int32Var(&f.max, "max", 0, "keep at most so many good ones, however young; 0 is no bound")
	flags.BoolVar(&f.digest, "digest", false, "read all documents once at every run, so that a restore is compared document by document")
	flags.BoolVar(&f.drill, "drill", false, "drill one tenant out of every snapshot: the one whose last drill is longest ago")
	flags.BoolVar(&f.paused, "paused", false, "neither take nor remove snapshots")
}

// put writes the flags that were given into a policy.
func (f *policyFlags) put(cmd *cobra.Command, p *tmsv1.BackupPolicy) error {
	given := cmd.Flags().Changed
	if given("all") || given("tenant") || given("label") {
		labels, err := pairs(f.labels)
		if err != nil {
			return usage(cmd, fmt.Errorf("--label: %w", err))
		}
		p.Selection = &tmsv1.BackupSelection{All: f.all, Tenants: unique(f.tenants), Labels: labels}
	}
	if p.Retention == nil {
		p.Retention = &tmsv1.BackupRetention{}
	}
	if given("expire-after") {
		age, err := days(f.expire)
		if err != nil {
			return usage(cmd, fmt.Errorf("--expire-after: %w", err))
		}
		p.Retention.ExpireAfter = age
	}
	for name, put := range map[string]func(){
		"schedule":   func() { p.Schedule = f.schedule },
		"time-zone":  func() { p.TimeZone = f.zone },
		"repository": func() { p.Repository = f.repository },
		"min":        func() { p.Retention.MinCount = f.min },
		"max":        func() { p.Retention.MaxCount = f.max },
		"digest":     func() { p.Digest = f.digest },
		"drill":      func() { p.Drill = f.drill },
		"paused":     func() { p.Paused = f.paused },
	} {
		if given(name) {
			put()
		}
	}
	return nil
}

// days reads a time span that may be given in days.
func days(text string) (*durationpb.Duration, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // none is a value
	}
	if n, err := strconv.ParseUint(strings.TrimSuffix(text, "d"), 10, 16); err == nil && strings.HasSuffix(text, "d") {
		return durationpb.New(time.Duration(n) * 24 * time.Hour), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%q: write a number of days as 30d, or hours as 12h", text)
	}
	return durationpb.New(d), nil
}

func (a *app) policyCreateCommand() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use: "create NAME --schedule CRON", Short: "Make a policy", Args: cobra.ExactArgs(1),
		Example: `  tms backup policy create nightly --schedule "30 2 * * *" --time-zone Europe/Warsaw --all --expire-after 30d --min 7 --drill`,
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		p := &tmsv1.BackupPolicy{Name: args[0], Selection: &tmsv1.BackupSelection{}}
		if err := f.put(cmd, p); err != nil {
			return err
		}
		made, err := call(ctx, s, s.backups.CreatePolicy, &tmsv1.CreateBackupPolicyRequest{Policy: p})
		if err != nil {
			return err
		}
		return a.printPolicy(s, made)
	})
	f.bind(cmd)
	needs(cmd, "schedule")
	return cmd
}

func (a *app) policyUpdateCommand() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change a policy; what no flag names stays as it is", Args: cobra.ExactArgs(1),
		Example: "  tms backup policy update nightly --max 60\n  tms backup policy update nightly --paused=false",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		p, err := call(ctx, s, s.backups.GetPolicy, &tmsv1.GetBackupPolicyRequest{Name: args[0]})
		if err != nil {
			return err
		}
		if err := f.put(cmd, p); err != nil {
			return err
		}
		p, err = call(ctx, s, s.backups.UpdatePolicy, &tmsv1.UpdateBackupPolicyRequest{Policy: p})
		if err != nil {
			return err
		}
		return a.printPolicy(s, p)
	})
	f.bind(cmd)
	return cmd
}

func (a *app) policyListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List policies, and those that the search engine runs on its own", Args: cobra.NoArgs,
		Long: `List policies, and those that the search engine runs on its own (Elasticsearch
SLM, OpenSearch snapshot management). The engine's own know no tenants: what
they take does not count as a backup of any, and is not removed by TMS.`,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		all, err := call(ctx, s, s.backups.ListPolicies, &tmsv1.ListBackupPoliciesRequest{})
		if err != nil {
			return err
		}
		if s.json {
			return writeMessage(a.out, all)
		}
		var rows [][]string
		for _, p := range all.GetPolicies() {
			next := stamp(p.GetNextTime())
			if p.GetPaused() {
				next = "paused"
			}
			rows = append(rows, []string{
				p.GetName(), "tms", p.GetSchedule() + " " + p.GetTimeZone(), p.GetRepository(), selectionText(p.GetSelection()), next,
				orDash(stamp(p.GetLastSuccess().GetTime())), orDash(stamp(p.GetLastFailure().GetTime())),
			})
		}
		for _, p := range all.GetNative() {
			rows = append(rows, []string{
				p.GetName(), p.GetKind() + " of " + p.GetCluster(), p.GetSchedule(), p.GetRepository(), "-", orDash(stamp(p.GetNextTime())),
				orDash(stamp(p.GetLastSuccess().GetTime())), orDash(stamp(p.GetLastFailure().GetTime())),
			})
		}
		err = writeTable(a.out, []string{"policy", "run by", "schedule", "repository", "tenants", "next run", "last success", "last failure"}, rows)
		if err == nil && all.GetNativeProblem() != "" {
			_, err = fmt.Fprintf(a.err, "policies that search engines run on their own are not all shown: %s\n", all.GetNativeProblem())
		}
		return err
	})
	return cmd
}

func selectionText(s *tmsv1.BackupSelection) string {
	if s.GetAll() {
		return "all"
	}
	text := tenantsText(s.GetTenants())
	if len(s.GetLabels()) > 0 {
		text = strings.TrimSpace(text + " with " + pairsText(s.GetLabels()))
	}
	return text
}

func retentionText(r *tmsv1.BackupRetention) string {
	var parts []string
	if r.GetExpireAfter() != nil {
		age := r.GetExpireAfter().AsDuration()
		text := age.String()
		if age%(24*time.Hour) == 0 {
			text = fmt.Sprintf("%dd", age/(24*time.Hour))
		}
		parts = append(parts, "expire after "+text)
	}
	if r.GetMinCount() > 0 {
		parts = append(parts, fmt.Sprintf("at least %d", r.GetMinCount()))
	}
	if r.GetMaxCount() > 0 {
		parts = append(parts, fmt.Sprintf("at most %d", r.GetMaxCount()))
	}
	if len(parts) == 0 {
		return "keep all"
	}
	return strings.Join(parts, ", ")
}

// outcomeText is how a run of a policy ended; "" when there was none.
func outcomeText(o *tmsv1.BackupPolicyOutcome) string {
	if o == nil {
		return ""
	}
	text := stamp(o.GetTime())
	for _, more := range []string{o.GetRun(), o.GetTenantId()} {
		if more != "" {
			text += ", " + more
		}
	}
	if o.GetReason() != "" {
		text += ": " + o.GetReason()
	}
	return text
}

func (a *app) printPolicy(s *session, p *tmsv1.BackupPolicy) error {
	if s.json {
		return writeMessage(a.out, p)
	}
	state := "on"
	if p.GetPaused() {
		state = "paused"
	}
	var extras []string
	if p.GetDigest() {
		extras = append(extras, "digests")
	}
	if p.GetDrill() {
		extras = append(extras, "a drill")
	}
	drill := outcomeText(p.GetLastDrill())
	if drill != "" && !p.GetLastDrill().GetOk() {
		drill = "FAILED " + drill
	}
	sweep := ""
	if w := p.GetLastSweep(); w != nil {
		sweep = fmt.Sprintf("%s, removed %d", stamp(w.GetTime()), w.GetRemoved())
	}
	err := writeFields(a.out, "policy", p.GetName(), "state", state, "schedule", p.GetSchedule()+" "+p.GetTimeZone(), "repository", p.GetRepository(),
		"tenants", selectionText(p.GetSelection()), "with", strings.Join(extras, ", "), "retention", retentionText(p.GetRetention()),
		"next run", stamp(p.GetNextTime()), "last success", outcomeText(p.GetLastSuccess()), "last failure", outcomeText(p.GetLastFailure()),
		"last drill", drill, "last look for old ones", sweep)
	for _, held := range p.GetLastSweep().GetHeld() {
		if err == nil {
			_, err = fmt.Fprintf(a.out, "kept: %s\n", held)
		}
	}
	return err
}

func (a *app) policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a policy, and how its last runs ended", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			p, err := call(ctx, s, s.backups.GetPolicy, &tmsv1.GetBackupPolicyRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.printPolicy(s, p)
		}),
	}
}

func (a *app) policyDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Forget a policy; its snapshots stay, and are no longer removed", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			_, err := call(ctx, s, s.backups.DeletePolicy, &tmsv1.DeleteBackupPolicyRequest{Name: args[0]})
			if err != nil || s.json {
				return err
			}
			_, err = fmt.Fprintf(a.out, "policy %s is forgotten; its snapshots stay until somebody deletes them\n", args[0])
			return err
		}),
	}
}

func (a *app) policyRunCommand() *cobra.Command {
	var wait bool
	var requestID string
	cmd := &cobra.Command{Use: "run NAME", Short: "Take a snapshot by a policy now; its next run stays as it is", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		if requestID == "" {
			requestID = rand.Text() // so that the call may be repeated
		}
		b, err := call(ctx, s, s.backups.RunPolicy, &tmsv1.RunBackupPolicyRequest{Name: args[0], RequestId: requestID})
		if err == nil && wait {
			b, err = a.awaitSnapshot(ctx, s, b)
		}
		if err != nil {
			return err
		}
		return a.printSnapshot(s, b, wait)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the snapshot to its end")
	cmd.Flags().StringVar(&requestID, "request-id", "", "makes repeated calls one; default is random")
	return cmd
}
