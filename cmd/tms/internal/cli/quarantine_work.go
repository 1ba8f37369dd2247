package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) quarantineRedriveCommand() *cobra.Command {
	var only, ids []string
	var noWait bool
	cmd := &cobra.Command{
		Use: "redrive ROLLOUT", Short: "Give quarantined documents another chance, with the transform in force now",
		Long: `Give quarantined documents another chance, with the transform in force now.

A switched tenant's documents are written to its new version, unless a document
with that id is there: it is newer. Those of a tenant that failed are copied
from their source as it is now; retry the rollout afterwards. What is done
leaves quarantine; the outcome of every other document is printed.
Exit code 0: all documents are done. 1: some are not.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		errands, err := errandsOf(call(ctx, s, s.proofs.RedriveQuarantine, &tmsv1.RedriveQuarantineRequest{RolloutId: args[0], Tenants: unique(only), Ids: unique(ids)}))
		if err != nil {
			return err
		}
		if noWait {
			return a.printErrands(s, errands)
		}
		if errands, err = a.follow(ctx, s, errands); err != nil {
			return err
		}
		if err := a.printErrands(s, errands); err != nil {
			return err
		}
		return errandVerdict(errands, "repaired")
	})
	cmd.Flags().StringSliceVar(&only, "tenant", nil, "only this tenant; may be repeated; default is all that failed or are switched")
	cmd.Flags().StringSliceVar(&ids, "ids", nil, "only documents with these ids")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "only begin")
	return cmd
}

func (a *app) quarantineDropCommand() *cobra.Command {
	var tenant string
	var ids, kinds []string
	var all bool
	cmd := &cobra.Command{
		Use: "drop ROLLOUT", Short: "Forget quarantined documents for good; export them before",
		Long: `Forget quarantined documents for good; export them before.

Say which: --ids, --kind, or --all. Documents of a tenant that failed, or is
being worked on, are refused: nothing else would remember that they were left
out. The audit trail keeps who dropped how many.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		if chosen := len(ids) > 0 || len(kinds) > 0; chosen == all {
			return usage(cmd, errors.New("say which documents: --ids, --kind, or --all"))
		}
		r, err := call(ctx, s, s.proofs.DropQuarantine, &tmsv1.DropQuarantineRequest{RolloutId: args[0], TenantId: tenant, Ids: unique(ids), Kinds: unique(kinds)})
		if err != nil {
			return err
		}
		if s.json {
			return writeMessage(a.out, r)
		}
		_, err = fmt.Fprintf(a.out, "%d documents dropped\n", r.GetDocuments())
		return err
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant")
	cmd.Flags().StringSliceVar(&ids, "ids", nil, "documents with these ids")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "documents of these kinds: refused, duplicate, dropped, leftover, not_carried_back")
	cmd.Flags().BoolVar(&all, "all", false, "all documents")
	return cmd
}

func (a *app) quarantineExportCommand() *cobra.Command {
	var tenant, file string
	cmd := &cobra.Command{
		Use: "export ROLLOUT", Short: "Write quarantined documents as NDJSON, ready for the engine's _bulk",
		Long: `Write quarantined documents as NDJSON, ready for the engine's _bulk.

Two lines per document: {"create": {"_index": …, "_id": …}} with the index where
it should have gone, and the document as it was found in the old version. Mend
the documents in the file, then send it to _bulk: create overwrites nothing.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		s.json = true // with the documents
		if file == "-" {
			_, err := exportQuarantine(ctx, s, args[0], tenant, a.out)
			return err
		}
		n, err := exportToFile(ctx, s, args[0], tenant, file)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.err, "%d documents in %s\n", n, file)
		return err
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant")
	cmd.Flags().StringVarP(&file, "file", "f", "-", "write to this file; - is standard output")
	return cmd
}

// exportToFile leaves either the whole export behind or nothing. Only its
// owner may read it: documents are personal data.
func exportToFile(ctx context.Context, s *session, rollout, tenant, file string) (n int, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".export-*")
	if err != nil {
		return 0, fmt.Errorf("--file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	n, err = exportQuarantine(ctx, s, rollout, tenant, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return n, err
	}
	return n, os.Rename(f.Name(), file)
}

func exportQuarantine(ctx context.Context, s *session, rollout, tenant string, to io.Writer) (int, error) {
	w, n := bufio.NewWriter(to), 0
	err := eachQuarantined(ctx, s, rollout, tenant, func(d *tmsv1.QuarantinedDocument) error {
		action, err := json.Marshal(map[string]any{"create": map[string]string{"_index": d.GetTarget(), "_id": d.GetDocumentId()}})
		if err != nil {
			return fmt.Errorf("export document %s: %w", d.GetDocumentId(), err)
		}
		var source bytes.Buffer
		if err := json.Compact(&source, []byte(d.GetSource())); err != nil {
			return fmt.Errorf("document %s of %s is no JSON and cannot be exported: %w", d.GetDocumentId(), d.GetIndex(), err)
		}
		n++
		_, err = fmt.Fprintf(w, "%s\n%s\n", action, source.Bytes())
		return err
	})
	return n, errors.Join(err, w.Flush())
}
