package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) operationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operation", Short: "Show and await work that outlives the call that asked for it, such as purges",
	}
	clientFlags(cmd)
	cmd.AddCommand(a.operationListCommand(), a.operationShowCommand(), a.operationWaitCommand())
	return cmd
}

func (a *app) operationListCommand() *cobra.Command {
	var state, tenant string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List operations, newest first"}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		all, err := collect(cmd, limit, func(size int32, token string) ([]*tmsv1.Operation, string, error) {
			page, err := call(ctx, s, s.operations.List, &tmsv1.ListOperationsRequest{PageSize: size, PageToken: token, State: state, TenantId: tenant})
			return page.GetOperations(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return a.printOperations(s, all)
	})
	cmd.Flags().StringVar(&state, "state", "", "only those that are running, succeeded or failed")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those on this tenant")
	cmd.Flags().IntVar(&limit, "limit", 100, "most to list; 0 for all")
	return cmd
}

func (a *app) operationShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show OPERATION", Short: "Show an operation", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			op, err := call(ctx, s, s.operations.Get, &tmsv1.GetOperationRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.printOperation(s, op)
		}),
	}
}

func (a *app) operationWaitCommand() *cobra.Command {
	var within time.Duration
	cmd := &cobra.Command{
		Use: "wait OPERATION", Short: "Wait for the end of an operation; exit code 0 only when it succeeded", Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		if within < 0 {
			return usage(cmd, fmt.Errorf("--within: %s: write a time span such as 10m, or 0 for no limit", within))
		}
		if within > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, within)
			defer cancel()
		}
		op, err := call(ctx, s, s.operations.Get, &tmsv1.GetOperationRequest{Id: args[0]})
		if err == nil {
			op, err = a.awaitOperation(ctx, s, op)
		}
		if cmd.Context().Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &outcomeError{fmt.Sprintf("operation %s has not ended within %s; it goes on", args[0], within)}
		}
		if err != nil {
			return err
		}
		return a.printEnd(s, op)
	})
	cmd.Flags().DurationVar(&within, "within", 0, "longest time to wait; 0 for no limit")
	return cmd
}

// awaitOperation asks until the operation has ended.
func (a *app) awaitOperation(ctx context.Context, s *session, op *tmsv1.Operation) (*tmsv1.Operation, error) {
	tick := time.NewTicker(operationPoll)
	defer tick.Stop()
	for op.GetState() == "running" {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		var err error
		if op, err = call(ctx, s, s.operations.Get, &tmsv1.GetOperationRequest{Id: op.GetId()}); err != nil {
			return nil, err
		}
	}
	return op, nil
}

// operationPoll is how often an operation is looked at that is waited for.
const operationPoll = 500 * time.Millisecond

// printEnd shows an operation, and makes its failure that of the command.
func (a *app) printEnd(s *session, op *tmsv1.Operation) error {
	if err := a.printOperation(s, op); err != nil {
		return err
	}
	if op.GetState() == "failed" {
		return &outcomeError{fmt.Sprintf("%s of %s failed: %s", op.GetKind(), subjectOf(op), op.GetMessage())}
	}
	return nil
}

// subjectOf is the tenant or the version that an operation is about.
func subjectOf(op *tmsv1.Operation) string {
	if op.GetVersion() != "" {
		return op.GetVersion()
	}
	return op.GetTenantId()
}

func (a *app) printOperations(s *session, all []*tmsv1.Operation) error {
	if s.json {
		return writeMessages(a.out, all)
	}
	var rows [][]string
	for _, op := range all {
		rows = append(rows, []string{op.GetId(), op.GetKind(), subjectOf(op), op.GetState(), stamp(op.GetCreateTime()), stamp(op.GetFinishTime()), op.GetCreatedBy(), op.GetMessage()})
	}
	return writeTable(a.out, []string{"operation", "kind", "of", "state", "created", "finished", "by", "message"}, rows)
}

func (a *app) printOperation(s *session, op *tmsv1.Operation) error {
	if s.json {
		return writeMessage(a.out, op)
	}
	r := op.GetResult()
	snapshot := op.GetSnapshot()
	if op.GetWithoutSnapshot() {
		snapshot = "waived"
	}
	return writeFields(a.out,
		"operation", op.GetId(), "kind", op.GetKind(), "tenant", op.GetTenantId(), "version", op.GetVersion(), "state", op.GetState(),
		"reason", op.GetReason(), "message", op.GetMessage(), "snapshot", snapshot,
		"removed", fmt.Sprintf("%d indices, %d aliases, %d templates, %d quarantined documents, %d keys", r.GetIndices(), r.GetAliases(), r.GetTemplates(), r.GetQuarantined(), r.GetKeys()),
		"proven", stamp(r.GetProofTime()), "asked for by", op.GetCreatedBy(), "created", stamp(op.GetCreateTime()), "finished", stamp(op.GetFinishTime()),
		"attempts", fmt.Sprint(op.GetAttempts()),
	)
}

// collect reads pages until limit rows are there, or, with limit 0, all.
func collect[M any](cmd *cobra.Command, limit int, next func(size int32, token string) ([]M, string, error)) ([]M, error) {
	if limit < 0 {
		return nil, usage(cmd, fmt.Errorf("--limit: %d: write a number of rows, or 0 for all", limit))
	}
	var all []M
	for token := ""; ; {
		size := listPage
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		page, following, err := next(int32(size), token)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if token = following; token == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
	}
}
