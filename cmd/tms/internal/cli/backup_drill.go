package cli

import (
	"context"
	"crypto/rand"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) backupDrillCommand() *cobra.Command {
	request := &tmsv1.StartBackupDrillRequest{}
	var wait bool
	cmd := &cobra.Command{
		Use: "drill --tenant ID", Short: "Prove that a tenant can be restored: restore beside, compare, remove",
		Long: `Prove that a tenant can be restored: its newest successful snapshot, or the one
that is named, is restored under another prefix, compared with its record
(counts, sequence numbers, mappings, and every document where the snapshot was
taken with --digest), and removed again. The tenant is not touched. The outcome
is kept; a snapshot whose last drill failed no longer counts as a backup for the
retention of policies. Returns 0 only if the drill succeeded.`,
		Example: "  tms backup drill --tenant acme\n  tms backup drill list --tenant acme",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		if request.GetRequestId() == "" {
			request.RequestId = rand.Text() // so that the call may be repeated
		}
		r, err := call(ctx, s, s.backups.StartDrill, request)
		if err != nil {
			return a.refusal(s, err)
		}
		return a.followRestore(ctx, s, r, wait)
	})
	flags := cmd.Flags()
	flags.StringVar(&request.TenantId, "tenant", "", "the tenant to drill")
	flags.StringVar(&request.Snapshot, "snapshot", "", "the snapshot; default is the newest successful one that holds the tenant")
	flags.StringVar(&request.RequestId, "request-id", "", "makes repeated calls one; default is random")
	flags.BoolVar(&wait, "wait", true, "follow the drill to its end")
	needs(cmd, "tenant")
	cmd.AddCommand(a.drillListCommand())
	return cmd
}

func (a *app) drillListCommand() *cobra.Command {
	request := &tmsv1.ListBackupRestoresRequest{PageSize: 1000, Drills: true}
	cmd := &cobra.Command{Use: "list", Short: "List drills, newest first", Args: cobra.NoArgs}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		found, err := call(ctx, s, s.backups.ListRestores, request)
		if err != nil {
			return err
		}
		if s.json {
			return writeMessages(a.out, found.GetRestores())
		}
		var rows [][]string
		for _, r := range found.GetRestores() {
			rows = append(rows, []string{r.GetId(), r.GetTenantId(), r.GetSnapshot(), r.GetState(), orDash(r.GetPolicy()), stamp(r.GetCreateTime()), orDash(verificationText(r.GetVerification())), r.GetReason()})
		}
		return writeTable(a.out, []string{"drill", "tenant", "snapshot", "state", "policy", "created", "compared", "reason"}, rows)
	})
	cmd.Flags().StringVar(&request.TenantId, "tenant", "", "only of this tenant")
	return cmd
}
