package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", Short: "Take snapshots of tenants, and restore single tenants out of them",
		Long: `Take snapshots of tenants, and restore single tenants out of them.

Snapshots are the search engine's own, in a repository that is registered with
"repo add". What the engine does not know about them (releases, aliases,
templates, counts) is kept in the database and inside the snapshot.`,
	}
	clientFlags(cmd)
	cmd.AddCommand(a.backupRepoCommand(), a.backupCreateCommand(), a.backupListCommand(), a.backupShowCommand(), a.backupDeleteCommand(), a.backupRestoreCommand(), a.backupPolicyCommand(), a.backupDrillCommand())
	return cmd
}

func (a *app) backupCreateCommand() *cobra.Command {
	var all, digest, wait bool
	var ids, labels []string
	var repository, rollout, requestID string
	cmd := &cobra.Command{
		Use: "create", Short: "Take a snapshot of all tenants, or of some",
		Long: `Take a snapshot of all tenants, or of some.

Say --all, or choose by --tenant, --label and --rollout; what is chosen meets
every condition. With --wait the command follows the snapshot and returns 0 only
if it counts as a backup: partial ones do not.`,
		Example: "  tms backup create --all --wait\n  tms backup create --tenant acme --repository nas --digest",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		wanted, err := pairs(labels)
		if err != nil {
			return usage(cmd, err)
		}
		if requestID == "" {
			requestID = rand.Text() // so that the call may be repeated
		}
		b, err := call(ctx, s, s.backups.CreateSnapshot, &tmsv1.CreateBackupSnapshotRequest{
			Repository: repository, Digest: digest, RequestId: requestID,
			Selection: &tmsv1.BackupSelection{All: all, Tenants: unique(ids), Labels: wanted, Rollout: rollout},
		})
		if err == nil && wait {
			b, err = a.awaitSnapshot(ctx, s, b)
		}
		if err != nil {
			return err
		}
		return a.printSnapshot(s, b, wait)
	})
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all tenants")
	flags.StringSliceVar(&ids, "tenant", nil, "this tenant; may be repeated")
	flags.StringSliceVar(&labels, "label", nil, "tenants with this label, as name=value; may be repeated")
	flags.StringVar(&rollout, "rollout", "", "tenants of this rollout")
	flags.StringVar(&repository, "repository", "", "where to; may be left out when there is only one")
	flags.BoolVar(&digest, "digest", false, "read all documents once, so that a restore is compared document by document")
	flags.BoolVar(&wait, "wait", false, "follow the snapshot to its end")
	flags.StringVar(&requestID, "request-id", "", "makes repeated calls one; default is random")
	return cmd
}

// pairs reads name=value.
func pairs(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range list {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q: write name=value", one)
		}
		out[name] = value
	}
	return out, nil
}

func (a *app) backupListCommand() *cobra.Command {
	var tenant, repository, state string
	cmd := &cobra.Command{
		Use: "list", Short: "List snapshots, newest first", Args: cobra.NoArgs,
		Example: "  tms backup list --tenant acme --state success",
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		var all []*tmsv1.BackupSnapshot
		request := &tmsv1.ListBackupSnapshotsRequest{PageSize: 1000, TenantId: tenant, Repository: repository, State: state}
		for {
			page, err := call(ctx, s, s.backups.ListSnapshots, request)
			if err != nil {
				return err
			}
			all = append(all, page.GetSnapshots()...)
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				break
			}
		}
		if s.json {
			return writeMessages(a.out, all)
		}
		var rows [][]string
		for _, b := range all {
			rows = append(rows, []string{
				b.GetId(), b.GetRepository(), b.GetState(), ageText(b), tenantsText(b.GetTenants()), releasesText(b.GetReleases()),
				bytesText(b.GetBytes()), bytesText(b.GetWrittenBytes()), b.GetDuration().AsDuration().Round(100 * time.Millisecond).String(),
			})
		}
		return writeTable(a.out, []string{"snapshot", "repository", "state", "age", "tenants", "releases", "size", "written", "duration"}, rows)
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those that hold this tenant")
	cmd.Flags().StringVar(&repository, "repository", "", "only in this repository")
	cmd.Flags().StringVar(&state, "state", "", "only in this state: success, partial, failed, running, ...")
	return cmd
}

func ageText(b *tmsv1.BackupSnapshot) string {
	age := time.Since(b.GetCreateTime().AsTime())
	switch {
	case age < time.Minute:
		return age.Round(time.Second).String()
	case age < 48*time.Hour:
		return strings.TrimSuffix(age.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", int(age.Hours()/24))
}

// tenantsText names few and counts many.
func tenantsText(ids []string) string {
	const most = 3
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
}

// releasesText counts tenants by release.
func releasesText(by map[string]string) string {
	count := map[string]int{}
	for _, r := range by {
		count[r]++
	}
	if len(count) == 1 {
		for r := range count {
			return r
		}
	}
	return pairsText(count)
}

// bytesText is a size for people, "-" when it is not known.
func bytesText(n int64) string {
	if n < 0 {
		return "-"
	}
	size, unit := float64(n), "B"
	for _, next := range []string{"KB", "MB", "GB", "TB"} {
		if size < 1000 {
			break
		}
		size, unit = size/1000, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

func (a *app) backupShowCommand() *cobra.Command {
	var only []string
	var wait bool
	cmd := &cobra.Command{Use: "show SNAPSHOT", Short: "Show a snapshot and what is in it", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		request := &tmsv1.GetBackupSnapshotRequest{Id: args[0], Contents: true, Tenants: only}
		b, err := call(ctx, s, s.backups.GetSnapshot, request)
		if err == nil && wait && !runEnded(b.GetState()) {
			if _, err = a.awaitSnapshot(ctx, s, b); err == nil {
				b, err = call(ctx, s, s.backups.GetSnapshot, request)
			}
		}
		if err != nil {
			return err
		}
		return a.printSnapshot(s, b, wait)
	})
	cmd.Flags().StringSliceVar(&only, "tenant", nil, "what is in it of this tenant; may be repeated")
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the snapshot to its end first")
	return cmd
}

// printSnapshot prints a snapshot; one that must count as a backup and does
// not is a failure.
func (a *app) printSnapshot(s *session, b *tmsv1.BackupSnapshot, must bool) error {
	var err error
	if s.json {
		err = writeMessage(a.out, b)
	} else {
		err = a.snapshotFields(b)
	}
	if err == nil && must && b.GetState() != "success" {
		err = &outcomeError{fmt.Sprintf("snapshot %s is %s: %s", b.GetId(), b.GetState(), b.GetReason())}
	}
	return err
}

func (a *app) snapshotFields(b *tmsv1.BackupSnapshot) error {
	err := writeFields(a.out,
		"snapshot", b.GetId(), "repository", b.GetRepository(), "state", b.GetState(), "reason", b.GetReason(), "for", b.GetPurpose(),
		"tenants", tenantsText(b.GetTenants()), "releases", releasesText(b.GetReleases()),
		"holds", fmt.Sprintf("%d indices, %d documents, %s", b.GetIndices(), b.GetDocuments(), bytesText(b.GetBytes())),
		"written", bytesText(b.GetWrittenBytes()), "created", stamp(b.GetCreateTime()), "finished", stamp(b.GetFinishTime()),
		"duration", b.GetDuration().AsDuration().Round(time.Millisecond).String(), "notes", strings.Join(b.GetNotes(), "; "),
	)
	if err != nil || len(b.GetContents()) == 0 {
		return err
	}
	var rows [][]string
	for _, t := range b.GetContents() {
		var docs, bytes int64
		for _, ix := range t.GetIndices() {
			docs += ix.GetDocuments()
			bytes += max(ix.GetBytes(), 0)
		}
		rows = append(rows, []string{t.GetTenantId(), t.GetRelease(), fmt.Sprint(len(t.GetIndices())), fmt.Sprint(docs), bytesText(bytes), fmt.Sprint(len(t.GetAliases())), fmt.Sprint(len(t.GetTemplates()))})
	}
	return a.section(len(rows), func() error {
		return writeTable(a.out, []string{"tenant", "release", "indices", "documents", "size", "aliases", "templates"}, rows)
	})
}

func (a *app) backupDeleteCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "delete SNAPSHOT", Short: "Delete a snapshot, or stop one that is being taken", Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		b, err := call(ctx, s, s.backups.DeleteSnapshot, &tmsv1.DeleteBackupSnapshotRequest{Id: args[0]})
		if err == nil && wait {
			b, err = a.awaitSnapshot(ctx, s, b)
		}
		if err != nil {
			return err
		}
		if err := a.printSnapshot(s, b, false); err != nil {
			return err
		}
		if b.GetState() == "failed" {
			return &outcomeError{fmt.Sprintf("snapshot %s is not deleted: %s", b.GetId(), b.GetReason())}
		}
		return nil
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is gone")
	return cmd
}

// runEnded says that nothing happens any more.
func runEnded(state string) bool {
	switch state {
	case "success", "partial", "failed", "deleted":
		return true
	}
	return false
}

func (a *app) awaitSnapshot(ctx context.Context, s *session, b *tmsv1.BackupSnapshot) (*tmsv1.BackupSnapshot, error) {
	return awaitRun(ctx, a, s, b, func(ctx context.Context) (*tmsv1.BackupSnapshot, error) {
		return call(ctx, s, s.backups.GetSnapshot, &tmsv1.GetBackupSnapshotRequest{Id: b.GetId()})
	})
}

// run is what snapshots and restores have in common.
type run interface {
	GetId() string
	GetState() string
	GetReason() string
	GetProgress() *tmsv1.BackupProgress
}

// runPoll is how often a run is looked at that is waited for.
const runPoll = 300 * time.Millisecond

// awaitRun follows a run to its end, over restarts of the server.
func awaitRun[R run](ctx context.Context, a *app, s *session, r R, get func(context.Context) (R, error)) (R, error) {
	m := a.newMeter()
	defer m.close()
	tick := time.NewTicker(runPoll)
	defer tick.Stop()
	var lost time.Time
	for m.show(r); !runEnded(r.GetState()); m.show(r) {
		select {
		case <-ctx.Done():
			return r, errors.Join(ctx.Err(), fmt.Errorf("%s goes on without this command", r.GetId()))
		case <-tick.C:
		}
		next, err := get(ctx)
		switch {
		case err == nil:
			r, lost = next, time.Time{}
		case !transient(err):
			return r, err
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > s.settings.Reconnect:
			return r, fmt.Errorf("TMS not reached for %s: %w", s.settings.Reconnect, err)
		}
	}
	return r, nil
}
