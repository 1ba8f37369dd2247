package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeProofCommand() *cobra.Command {
	var rollout, cancel string
	var recheck bool
	cmd := &cobra.Command{
		Use: "proof TENANT", Short: "Show why a tenant was allowed to switch, or check again whether that still holds",
		Long: `Show why a tenant was allowed to switch, or check again whether that still holds.

--recheck compares with the old version once more, which is closed to writers:
it must be what was proven, and documents of the new version that were not
touched since the switch must be the same. Touched ones are counted. An
interrupt cancels it. Exit code 0: the proof holds; 1: it does not.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		switch {
		case recheck && cancel != "":
			return usage(cmd, errors.New("--recheck and --cancel exclude each other"))
		case cancel != "":
			e, err := call(ctx, s, s.proofs.CancelErrand, &tmsv1.CancelErrandRequest{Id: cancel})
			if err != nil {
				return err
			}
			return a.printErrands(s, []*tmsv1.Errand{e})
		}
		p, err := call(ctx, s, s.proofs.GetProof, &tmsv1.GetProofRequest{TenantId: args[0], RolloutId: rollout})
		if err != nil {
			return err
		}
		if !recheck {
			return a.printProof(s, p)
		}
		return a.recheck(ctx, s, p)
	})
	cmd.Flags().StringVar(&rollout, "rollout", "", "in this rollout; default is the latest that moved the tenant's data")
	cmd.Flags().BoolVar(&recheck, "recheck", false, "check again, against the cluster as it is now")
	cmd.Flags().StringVar(&cancel, "cancel", "", "cancel this errand (a recheck, repair or redrive)")
	return cmd
}

// recheck runs one to its end; an interrupt cancels it.
func (a *app) recheck(ctx context.Context, s *session, p *tmsv1.Proof) error {
	errands, err := errandsOf(call(ctx, s, s.proofs.Recheck, &tmsv1.RecheckRequest{RolloutId: p.GetRolloutId(), Tenants: []string{p.GetTenantId()}}))
	if err != nil {
		return err
	}
	begun := errands[0].GetId()
	watched, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if errands, err = a.follow(watched, s, errands); err != nil {
		if watched.Err() == nil {
			return err
		}
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		e, cerr := call(cctx, s, s.proofs.CancelErrand, &tmsv1.CancelErrandRequest{Id: begun})
		if cerr != nil {
			return errors.Join(err, cerr)
		}
		return &outcomeError{fmt.Sprintf("recheck of tenant %s is %s", e.GetTenantId(), e.GetState())}
	}
	if err := a.printErrands(s, errands); err != nil {
		return err
	}
	if !s.json {
		now, err := call(ctx, s, s.proofs.GetProof, &tmsv1.GetProofRequest{TenantId: p.GetTenantId(), RolloutId: p.GetRolloutId()})
		if err != nil {
			return err
		}
		if err := a.printMismatches(now.GetMismatches(), now.GetMoreMismatches()); err != nil {
			return err
		}
	}
	return errandVerdict(errands, "holds")
}

func (a *app) printProof(s *session, p *tmsv1.Proof) error {
	if s.json {
		return writeMessage(a.out, p)
	}
	v := p.GetVerification()
	err := writeFields(a.out,
		"tenant", p.GetTenantId(), "rollout", p.GetRolloutId(), "releases", p.GetFromRelease()+" to "+p.GetToRelease(),
		"state", p.GetState()+withReason(p.GetReason()), "verdict", verdictText(v), "taken", stamp(v.GetTakeTime()), "counted", v.GetDetail(),
		"quarantined", fmt.Sprint(p.GetQuarantined()), "definitions", strings.Join(v.GetReleaseDigests(), ", "), "tms", p.GetTms(),
		"engine", p.GetEngine(), "cluster", strings.TrimSpace(p.GetClusterName()+" "+p.GetClusterUuid()),
	)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, ip := range p.GetIndices() {
		rows = append(rows, []string{
			ip.GetTarget(), sourcesText(ip.GetSources()), fmt.Sprint(ip.GetSourceDocuments()), fmt.Sprint(ip.GetTargetDocuments()),
			fmt.Sprint(ip.GetQuarantined()), ip.GetDigest(), ip.GetDigestOf(),
		})
	}
	if len(rows) > 0 {
		if _, err := fmt.Fprintln(a.out); err != nil {
			return err
		}
		if err := writeTable(a.out, []string{"index", "from, up to sequence number", "source", "target", "aside", "digest", "of"}, rows); err != nil {
			return err
		}
	}
	if len(p.GetErrands()) > 0 {
		if _, err := fmt.Fprintln(a.out); err != nil {
			return err
		}
		if err := a.printErrands(s, p.GetErrands()); err != nil {
			return err
		}
	}
	return a.printMismatches(p.GetMismatches(), p.GetMoreMismatches())
}

func verdictText(v *tmsv1.Verification) string {
	if v == nil {
		return "no proof yet"
	}
	return v.GetLevel() + ": " + v.GetVerdict()
}

// sourcesText is "index:41" per source, the shards of one with a slash.
func sourcesText(sources []*tmsv1.SourceProof) string {
	parts := make([]string, 0, len(sources))
	for _, one := range sources {
		var seq []string
		for shard := range len(one.GetCheckpoint()) {
			seq = append(seq, fmt.Sprint(one.GetCheckpoint()[int32(shard)]))
		}
		parts = append(parts, one.GetIndex()+":"+strings.Join(seq, "/"))
	}
	return strings.Join(parts, " ")
}

func (a *app) printMismatches(found []*tmsv1.Mismatch, more bool) error {
	if len(found) == 0 {
		return nil
	}
	var rows [][]string
	for _, m := range found {
		rows = append(rows, []string{m.GetTenantId(), m.GetIndex(), m.GetDocumentId(), m.GetKind(), strings.Join(m.GetFields(), ", ")})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	if err := writeTable(a.out, []string{"tenant", "index", "document", "wrong", "fields"}, rows); err != nil || !more {
		return err
	}
	_, err := fmt.Fprintln(a.out, "… and more; tms upgrade mismatches lists all")
	return err
}

func (a *app) upgradeMismatchesCommand() *cobra.Command {
	var tenant string
	var values bool
	cmd := &cobra.Command{
		Use: "mismatches ROLLOUT", Short: "List documents that a comparison found wrong",
		Long: `List documents that a comparison found wrong: index, id and the fields that
differ. Documents hold personal data, so values are only shown with --values:
then both documents are read as they are now, and printed as JSON.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		var all []*tmsv1.Mismatch
		for token := ""; ; {
			page, err := call(ctx, s, s.proofs.ListMismatches, &tmsv1.ListMismatchesRequest{
				RolloutId: args[0], TenantId: tenant, PageSize: quarantinePage, PageToken: token, Values: values,
			})
			if err != nil {
				return err
			}
			all = append(all, page.GetMismatches()...)
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if s.json || values {
			return writeMessages(a.out, all)
		}
		return a.printMismatches(all, false)
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant")
	cmd.Flags().BoolVar(&values, "values", false, "with both documents as they are now, as JSON")
	return cmd
}
