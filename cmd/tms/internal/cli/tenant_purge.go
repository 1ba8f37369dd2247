package cli

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// withEtag changes a tenant as it is stored, or as the user has seen it when
// he gives an etag. Between reading and changing somebody else may be quicker;
// the refusal then names the etag in force.
func withEtag(ctx context.Context, s *session, id, etag string, change func(etag string) (*tmsv1.Tenant, error)) (*tmsv1.Tenant, error) {
	if etag != "" {
		return change(etag)
	}
	t, err := call(ctx, s, s.tenants.Get, &tmsv1.GetTenantRequest{Id: id})
	if err != nil {
		return nil, err
	}
	etag = t.GetEtag()
	for tries := 1; ; tries++ {
		changed, err := change(etag)
		st, _ := status.FromError(err)
		info := errorInfo(st)
		if err == nil || tries == 3 || info.GetReason() != "ETAG_MISMATCH" {
			return changed, err
		}
		etag = info.GetMetadata()["etag"]
	}
}

func (a *app) tenantPurgeCommand() *cobra.Command {
	var etag string
	var waiver, dry, wait bool
	cmd := &cobra.Command{
		Use: "purge ID", Short: "Remove everything of a deleted tenant, for good",
		Long: `Remove everything of a deleted tenant, for good.

All its indices, aliases and templates of every release, its quarantined
documents and its keys are deleted, and it is proven that nothing remains. The
id is kept from being used again. There is no way back, so a verified snapshot
is required, or the waiver --without-snapshot, which is audited.`,
		Example: "  tms tenant delete acme\n  tms tenant purge acme --without-snapshot --wait",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		op, err := call(ctx, s, s.tenants.Purge, &tmsv1.PurgeTenantRequest{Id: args[0], Etag: etag, WithoutSnapshot: waiver, ValidateOnly: dry})
		if err == nil && wait && !dry {
			op, err = a.awaitOperation(ctx, s, op)
		}
		if err != nil {
			return err
		}
		return a.printEnd(s, op)
	})
	cmd.Flags().StringVar(&etag, "etag", "", "refuse when the tenant has changed since this etag was read")
	cmd.Flags().BoolVar(&waiver, "without-snapshot", false, "purge although no verified snapshot exists; audited")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end")
	return cmd
}
