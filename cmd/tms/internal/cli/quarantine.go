package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// quarantinePage keeps an answer small with documents of some kilobytes.
const quarantinePage = 100

func (a *app) upgradeQuarantineCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "quarantine ROLLOUT", Short: "List documents that were kept aside instead of being migrated",
		Long: `List documents that were kept aside instead of being migrated.

Kinds: refused (by the transform or the target mapping) and duplicate count
against --allow-quarantine; dropped (on purpose), leftover (of somebody else)
and not_carried_back (by a rollback) do not.
With -o json the documents themselves are in "source".`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		if s.json {
			return a.quarantineJSON(ctx, s, args[0], tenant)
		}
		var rows [][]string
		err := eachQuarantined(ctx, s, args[0], tenant, func(d *tmsv1.QuarantinedDocument) error {
			rows = append(rows, []string{d.GetTenantId(), d.GetIndex(), d.GetDocumentId(), d.GetKind(), d.GetReason()})
			return nil
		})
		if err != nil {
			return err
		}
		return writeTable(a.out, []string{"tenant", "index", "document", "kind", "reason"}, rows)
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant")
	cmd.AddCommand(a.quarantineRedriveCommand(), a.quarantineExportCommand(), a.quarantineDropCommand())
	return cmd
}

// quarantined is a document for programs; its keys are a contract.
type quarantined struct {
	TenantID string          `json:"tenant_id"`
	Index    string          `json:"index"`
	ID       string          `json:"id"`
	Target   string          `json:"target"`
	Kind     string          `json:"kind"`
	Reason   string          `json:"reason"`
	Source   json.RawMessage `json:"source"`
	At       string          `json:"at"`
}

// quarantineJSON prints one array, a document a line as they come: there may
// be ten thousand per tenant.
func (a *app) quarantineJSON(ctx context.Context, s *session, rollout, tenant string) error {
	lead := "["
	err := eachQuarantined(ctx, s, rollout, tenant, func(d *tmsv1.QuarantinedDocument) error {
		source := json.RawMessage(d.GetSource())
		if !json.Valid(source) {
			source, _ = json.Marshal(d.GetSource()) // a string: cannot fail
		}
		line, err := json.Marshal(quarantined{
			TenantID: d.GetTenantId(), Index: d.GetIndex(), ID: d.GetDocumentId(), Target: d.GetTarget(),
			Kind: d.GetKind(), Reason: d.GetReason(), Source: source, At: stamp(d.GetCreateTime()),
		})
		if err != nil {
			return fmt.Errorf("render document %s: %w", d.GetDocumentId(), err)
		}
		_, err = fmt.Fprintf(a.out, "%s\n%s", lead, line)
		lead = ","
		return err
	})
	if err != nil {
		return err
	}
	if lead == "[" {
		_, err = io.WriteString(a.out, "[]\n")
	} else {
		_, err = io.WriteString(a.out, "\n]\n")
	}
	return err
}

func eachQuarantined(ctx context.Context, s *session, rollout, tenant string, f func(*tmsv1.QuarantinedDocument) error) error {
	for token := ""; ; {
		page, err := call(ctx, s, s.upgrades.ListQuarantine, &tmsv1.ListQuarantineRequest{
			Id: rollout, TenantId: tenant, PageSize: quarantinePage, PageToken: token, WithoutSource: !s.json,
		})
		if err != nil {
			return err
		}
		for _, d := range page.GetDocuments() {
			if err := f(d); err != nil {
				return err
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return nil
		}
	}
}
