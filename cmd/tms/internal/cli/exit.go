package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// Exit codes, a contract for scripts.
const (
	exitDone    = 0
	exitFailed  = 1 // tried, and failed
	exitUsage   = 2 // the command line, a setting or a value is wrong
	exitRefused = 3 // preconditions are not met; nothing was changed
)

// refusals are the ErrorInfo reasons of what may not be done as things stand,
// with everything that stands in the way, or the state in which it makes no
// sense. Nothing was changed.
var refusals = []string{
	"ROLLOUT_REFUSED", "BACKUP_REFUSED", "CLEANUP_REFUSED", "CLEANUP_CHANGED", "CLUSTER_IN_USE", "CLUSTER_UNREACHABLE", "CLUSTER_DIFFERS", "CLUSTERS_FULL", "TENANT_NOT_MOVED",
	"WRONG_STATE", "BACKUP_WRONG_STATE", "ROLLOUT_RUNNING", "SNAPSHOT_REQUIRED", "RELEASE_IN_USE",
}

// The ErrorInfo reasons of a release that cannot be saved.
const (
	reasonReleaseRefused = "RELEASE_REFUSED"
	reasonReleaseExists  = "RELEASE_EXISTS"
)

// usageError is wrong usage.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string {
	if e.command == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%s (see %s --help)", e.err, e.command)
}

func (e *usageError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), err} }

// refusedError is a complete list of what stands in the way.
type refusedError struct{ refusals []*tmsv1.Refusal }

func (e *refusedError) Error() string { return fmt.Sprintf("refused, %d reasons", len(e.refusals)) }

// outcomeError is a rollout that ended otherwise than wanted; the rollout has
// been printed.
type outcomeError struct{ message string }

func (e *outcomeError) Error() string { return e.message }

// report prints an error to the error output and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	err = asRefusal(err)
	var refused *refusedError
	if errors.As(err, &refused) {
		_, _ = fmt.Fprintln(a.err, "tms: refused:")
		for _, r := range refused.refusals {
			_, _ = fmt.Fprintln(a.err, "  -", refusalText(r))
		}
		return exitRefused
	}
	var problems *problemsError
	if errors.As(err, &problems) {
		_, _ = fmt.Fprintln(a.err, "tms: refused:")
		for _, line := range problems.lines {
			_, _ = fmt.Fprintln(a.err, "  -", line)
		}
		return exitRefused
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		_, _ = fmt.Fprintln(a.err, "tms:", err)
		return exitUsage
	}
	if errors.Is(err, context.Canceled) { // by a signal: nobody else cancels a command
		_, _ = fmt.Fprintln(a.err, "tms:", strings.Replace(err.Error(), context.Canceled.Error(), "interrupted", 1))
		return exitFailed
	}
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		_, _ = fmt.Fprintln(a.err, "tms:", err)
		return exitFailed
	}
	_, _ = fmt.Fprintln(a.err, "tms:", statusText(st))
	if st.Code() == codes.InvalidArgument {
		return exitUsage
	}
	return exitFailed
}

// statusText is what the server said, and a remedy where there was no server
// to say anything.
func statusText(st *status.Status) string {
	if errorInfo(st) != nil {
		return st.Message()
	}
	switch st.Code() {
	case codes.Unavailable:
		return "cannot reach TMS: " + cause(st.Message()) + " (is `tms serve` running? check --addr, TMS_ADDR and, for TLS, TMS_TLS and TMS_TLS_CA)"
	case codes.DeadlineExceeded:
		return "TMS did not answer in time (try again with a larger --timeout)"
	case codes.Unimplemented:
		return "this TMS does not know the call: " + st.Message() + " (client and server are of different versions)"
	}
	return st.Message()
}

// cause is the innermost of the layers that gRPC wraps around a failed
// connection.
func cause(message string) string {
	const layer = "desc = "
	if i := strings.LastIndex(message, layer); i >= 0 {
		message = message[i+len(layer):]
	}
	return strings.TrimPrefix(strings.Trim(message, `"`), "transport: ")
}

func errorInfo(st *status.Status) *errdetails.ErrorInfo {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// asRefusal turns the server's refusal of a rollout or a release into a refusedError, and
// leaves every other error alone.
func asRefusal(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if info := errorInfo(st); info == nil || !slices.Contains(refusals, info.GetReason()) && info.GetReason() != reasonReleaseRefused && info.GetReason() != reasonReleaseExists {
		return err
	}
	refused := &refusedError{}
	for _, d := range st.Details() {
		failure, ok := d.(*errdetails.PreconditionFailure)
		if !ok {
			continue
		}
		for _, v := range failure.GetViolations() {
			refused.refusals = append(refused.refusals, &tmsv1.Refusal{Code: v.GetType(), TenantId: v.GetSubject(), Message: v.GetDescription()})
		}
	}
	if len(refused.refusals) == 0 {
		refused.refusals = []*tmsv1.Refusal{{Code: "refused", Message: st.Message()}}
	}
	return refused
}

func refusalText(r *tmsv1.Refusal) string {
	text := r.GetMessage()
	if r.GetTenantId() != "" {
		text = "tenant " + r.GetTenantId() + ": " + text
	}
	if r.GetRemedy() != "" {
		text += " (" + r.GetRemedy() + ")"
	}
	return text
}
