package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// releaseRemoveCommand takes a saved release away.
func (a *app) releaseRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove VERSION", Short: "Remove a saved release that nothing uses", Args: cobra.ExactArgs(1),
		Long: `Remove a release that was saved, for all processes of the TMS at --addr. It is
refused with all reasons (exit code 3) while a tenant is on it, a rollout names
it, or another release follows it. It stands in the audit trail.`,
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			if _, err := call(ctx, s, s.releases.Remove, &tmsv1.RemoveReleaseRequest{Version: args[0]}); err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, &tmsv1.RemoveReleaseResponse{})
			}
			_, err := fmt.Fprintf(a.out, "release %s is removed\n", args[0])
			return err
		}),
	}
}
