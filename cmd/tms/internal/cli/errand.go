package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// errandPoll is how often an errand is looked at while the command waits.
const errandPoll = 500 * time.Millisecond

// errandsOf makes a list of errands out of what began them.
func errandsOf(list *tmsv1.ErrandList, err error) ([]*tmsv1.Errand, error) {
	return list.GetErrands(), err
}

// follow waits for the end of all errands, with a line on the error output
// whenever one gets further. An interrupted command leaves them running.
func (a *app) follow(ctx context.Context, s *session, errands []*tmsv1.Errand) ([]*tmsv1.Errand, error) {
	tick := time.NewTicker(errandPoll)
	defer tick.Stop()
	for i := range errands {
		said := ""
		for errands[i].GetState() == "running" {
			if now := progressOf(errands[i]); now != said {
				_, _ = fmt.Fprintf(a.err, "%s of %s: %s\n", errands[i].GetKind(), errands[i].GetTenantId(), now)
				said = now
			}
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("%w; it goes on: tms upgrade proof %s --rollout %s shows it", ctx.Err(), errands[i].GetTenantId(), errands[i].GetRolloutId())
			case <-tick.C:
			}
			e, err := call(ctx, s, s.proofs.GetErrand, &tmsv1.GetErrandRequest{Id: errands[i].GetId()})
			if err != nil {
				return nil, err
			}
			errands[i] = e
		}
	}
	return errands, nil
}

func progressOf(e *tmsv1.Errand) string {
	text := fmt.Sprintf("%d indices, %d documents equal", e.GetIndices(), e.GetEqual())
	if len(e.GetOutcomes()) > 0 {
		text += ", " + pairsText(e.GetOutcomes())
	}
	return text + withReason(e.GetReason())
}

// printErrands prints what came of errands.
func (a *app) printErrands(s *session, errands []*tmsv1.Errand) error {
	if s.json {
		return writeMessages(a.out, errands)
	}
	var rows [][]string
	for _, e := range errands {
		rows = append(rows, errandRow(e))
	}
	if err := writeTable(a.out, errandHeader, rows); err != nil {
		return err
	}
	for _, e := range errands {
		for _, line := range slices.Concat(e.GetProblems(), e.GetNotes()) {
			if _, err := fmt.Fprintf(a.out, "  %s: %s\n", e.GetTenantId(), line); err != nil {
				return err
			}
		}
	}
	return a.printOutcomes(errands)
}

var errandHeader = []string{"errand", "tenant", "what", "state", "verdict", "equal", "touched", "missing", "differs", "extra", "absent", "documents", "reason"}

func errandRow(e *tmsv1.Errand) []string {
	return []string{
		e.GetId(), e.GetTenantId(), e.GetKind(), e.GetState(), e.GetVerdict(), fmt.Sprint(e.GetEqual()), fmt.Sprint(e.GetTouched()), fmt.Sprint(e.GetMissing()),
		fmt.Sprint(e.GetDiffers()), fmt.Sprint(e.GetExtra()), fmt.Sprint(e.GetAbsent()), pairsText(e.GetOutcomes()), e.GetReason(),
	}
}

// printOutcomes names documents that are not done, a handful.
func (a *app) printOutcomes(errands []*tmsv1.Errand) error {
	const most = 20
	var rows [][]string
	for _, e := range errands {
		for _, d := range e.GetDocuments() {
			if done := []string{"written", "removed", "equal"}; !slices.Contains(done, d.GetOutcome()) && len(rows) < most {
				rows = append(rows, []string{e.GetTenantId(), d.GetIndex(), d.GetDocumentId(), d.GetOutcome(), d.GetReason()})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"tenant", "index", "document", "outcome", "reason"}, rows)
}

// errandVerdict is an error unless every errand ended well.
func errandVerdict(errands []*tmsv1.Errand, good ...string) error {
	for _, e := range errands {
		switch {
		case e.GetState() != "done":
			return &outcomeError{fmt.Sprintf("%s of tenant %s %s: %s", e.GetKind(), e.GetTenantId(), e.GetState(), e.GetReason())}
		case !slices.Contains(good, e.GetVerdict()):
			return &outcomeError{fmt.Sprintf("%s of tenant %s: %s", e.GetKind(), e.GetTenantId(), e.GetVerdict())}
		}
	}
	return nil
}

func (a *app) upgradeRepairCommand() *cobra.Command {
	var absent, noWait bool
	cmd := &cobra.Command{
		Use: "repair ROLLOUT [TENANT...]", Short: "Copy again just the documents that a comparison found wrong",
		Long: `Copy again just the documents that a comparison found wrong.

A tenant that failed verification goes on with its upgrade afterwards, and is
verified again. A switched one is rechecked; what its new version has written
since the switch is never overwritten. Documents that are absent there may have
been deleted since: they come back with --absent only.
Exit code 0: repaired, and what can be checked holds. 1: it does not.`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		errands, err := errandsOf(call(ctx, s, s.proofs.Repair, &tmsv1.RepairRequest{RolloutId: args[0], Tenants: unique(args[1:]), Absent: absent}))
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
		return errandVerdict(errands, "holds", "repaired")
	})
	cmd.Flags().BoolVar(&absent, "absent", false, "also write documents again that may have been deleted since the switch")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "only begin")
	return cmd
}
