package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// shownDetail is how much of a record's particulars a table shows; JSON has
// all.
const shownDetail = 100

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Show who changed what"}
	clientFlags(cmd)
	cmd.AddCommand(a.auditListCommand())
	return cmd
}

// auditFlags are the conditions that records can be chosen by.
type auditFlags struct {
	tenant, subject, actor, action, request, since, until string
	limit                                                 int
}

func (f *auditFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.tenant, "tenant", "", "only changes of this tenant")
	flags.StringVar(&f.subject, "subject", "", "only changes of this: a tenant, a key, or rollout/ID")
	flags.StringVar(&f.actor, "actor", "", "only changes made with this key, by its id")
	flags.StringVar(&f.action, "action", "", "only this action, such as tenant.update; with a dot at the end all that begin so: key.")
	flags.StringVar(&f.request, "request-id", "", "only changes of this call")
	flags.StringVar(&f.since, "since", "", "only changes at this time or later: 2027-01-31T00:00:00Z, or 24h for a day ago")
	flags.StringVar(&f.until, "until", "", "only changes before this time, written as in --since")
	flags.IntVar(&f.limit, "limit", 100, "most records to list; 0 for all")
}

func (f *auditFlags) conditions(cmd *cobra.Command) (*tmsv1.ListAuditRequest, error) {
	if f.tenant != "" && f.subject != "" {
		return nil, usage(cmd, fmt.Errorf("--tenant and --subject are the same condition: give one"))
	}
	r := &tmsv1.ListAuditRequest{Subject: f.tenant + f.subject, Action: f.action, KeyId: f.actor, RequestId: f.request}
	var err error
	if r.StartTime, err = parsePast("--since", f.since); err != nil {
		return nil, usage(cmd, err)
	}
	if r.EndTime, err = parsePast("--until", f.until); err != nil {
		return nil, usage(cmd, err)
	}
	return r, nil
}

// parsePast reads a time, or a span back from now; "" is unset.
func parsePast(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	if span, err := time.ParseDuration(text); err == nil && span >= 0 {
		return timestamppb.New(time.Now().Add(-span)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %q: write a time such as 2027-01-31T00:00:00Z, or a span back from now such as 24h", flag, text)
	}
	return timestamppb.New(at), nil
}

func (a *app) auditListCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List changes, newest first",
		Example: "  tms audit list --tenant acme\n  tms audit list --action key. --since 24h\n  tms audit list --limit 0 -o json",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		request, err := f.conditions(cmd)
		if err != nil {
			return err
		}
		all, err := collect(cmd, f.limit, func(size int32, token string) ([]*tmsv1.AuditRecord, string, error) {
			request.PageSize, request.PageToken = size, token
			page, err := call(ctx, s, s.audit.List, request)
			return page.GetRecords(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return a.printAudit(s, all)
	})
	f.bind(cmd)
	return cmd
}

func (a *app) printAudit(s *session, all []*tmsv1.AuditRecord) error {
	if s.json {
		return writeMessages(a.out, all)
	}
	var rows [][]string
	for _, r := range all {
		detail, err := r.GetDetail().MarshalJSON()
		if err != nil {
			return fmt.Errorf("render audit record %d: %w", r.GetId(), err)
		}
		rows = append(rows, []string{stamp(r.GetTime()), r.GetAction(), r.GetSubject(), r.GetKeyId(), r.GetRole(), r.GetOrigin(), cut(string(detail), shownDetail)})
	}
	return writeTable(a.out, []string{"time", "action", "subject", "key", "role", "from", "detail"}, rows)
}

// cut shortens text to at most n characters.
func cut(text string, n int) string {
	letters := []rune(text)
	if len(letters) <= n {
		return text
	}
	return string(letters[:n-1]) + "…"
}
