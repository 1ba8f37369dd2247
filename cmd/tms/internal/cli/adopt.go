package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// tenantAdoptCommand makes a tenant of a single-tenant installation.
func (a *app) tenantAdoptCommand() *cobra.Command {
	var as string
	var dry bool
	cmd := &cobra.Command{
		Use: "adopt CODENAME --adopt-as ID", Short: "Make a tenant of a single-tenant installation",
		Long: `Make a tenant of a single-tenant installation, whose indices stand under a
code name: INSTANCE_PREFIX, or five hex digits that Tracardi made of its version
(in 074.4a7d1.tracardi-event it is 4a7d1; see tms tenant discover).

It is registered with the release that its aliases lead to, and nothing else
changes. The next upgrade moves its documents to indices under the tenant's id,
and a rollback back to those under the code name. Exit code 3 when it is refused.`,
		Example: "  tms tenant adopt 4a7d1 --adopt-as acme\n  tms upgrade start --to 0.8.0 --tenant acme",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		if as == "" {
			return usage(cmd, fmt.Errorf("--adopt-as: which tenant does %s become?", args[0]))
		}
		one, err := call(ctx, s, s.fleet.Adopt, &tmsv1.AdoptTenantRequest{CodeName: args[0], AdoptAs: as, ValidateOnly: dry})
		if err != nil {
			return err
		}
		return a.printImported(s, &tmsv1.ImportFleetResponse{Tenants: []*tmsv1.ImportedTenant{one}}, dry)
	})
	cmd.Flags().StringVar(&as, "adopt-as", "", "id of the tenant that it becomes")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	return cmd
}
