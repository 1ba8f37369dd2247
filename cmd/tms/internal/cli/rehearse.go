package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeRehearseCommand() *cobra.Command {
	var r tmsv1.StartRehearsalRequest
	var allow int32
	var noWait bool
	cmd := &cobra.Command{
		Use: "rehearse --tenant TENANT --to VERSION", Short: "Carry a tenant's upgrade out into throw-away indices, and say what would come of it",
		Long: `Carry a tenant's upgrade out into throw-away indices, and say what would come
of it: documents that do not fit, with reasons; whether all others arrive as
they should; how long it takes. The indices are under no alias and are removed
afterwards; of the tenant nothing is changed.
Exit code 0: the upgrade would succeed. 1: it would not, or needs a higher
--allow-quarantine. 3: it cannot be rehearsed, with all reasons. An interrupted
command leaves the rehearsal running.`,
		Example: "  tms upgrade rehearse --tenant acme --to 0.8.2 --sample 1000\n  tms upgrade rehearse --tenant acme --to 0.8.2 -o json",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		if r.GetSample() < 0 {
			return usage(cmd, fmt.Errorf("--sample: %d: give a number of documents per index, or 0 for all", r.GetSample()))
		}
		one, err := call(ctx, s, s.rehearsals.Start, &r)
		if err != nil {
			return a.refusal(s, err)
		}
		if !noWait {
			if one, err = a.awaitRehearsal(ctx, s, one); err != nil {
				return err
			}
		}
		if err := a.printRehearsal(s, one); err != nil {
			return err
		}
		return rehearsalVerdict(one, allow)
	})
	flags := cmd.Flags()
	flags.StringVar(&r.TenantId, "tenant", "", "whose upgrade")
	flags.StringVar(&r.ToRelease, "to", "", "release to reach, see tms release list")
	flags.Int32Var(&r.Sample, "sample", 0, "documents of each index, from its beginning to its end; 0 for all")
	flags.Int32Var(&allow, "allow-quarantine", 0, "quarantined documents up to which the outcome is good")
	flags.BoolVar(&noWait, "no-wait", false, "only begin")
	needs(cmd, "tenant", "to")
	return cmd
}

func (a *app) upgradeRehearsalsCommand() *cobra.Command {
	var tenant, cancel string
	var limit int
	cmd := &cobra.Command{
		Use: "rehearsals [REHEARSAL]", Short: "List rehearsals, newest first, or show one with its findings", Args: cobra.MaximumNArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		switch {
		case cancel != "":
			one, err := call(ctx, s, s.rehearsals.Cancel, &tmsv1.CancelRehearsalRequest{Id: cancel})
			if err != nil {
				return err
			}
			return a.printRehearsal(s, one)
		case len(args) == 1:
			one, err := call(ctx, s, s.rehearsals.Get, &tmsv1.GetRehearsalRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.printRehearsal(s, one)
		}
		all, err := collect(cmd, limit, func(size int32, token string) ([]*tmsv1.Rehearsal, string, error) {
			page, err := call(ctx, s, s.rehearsals.List, &tmsv1.ListRehearsalsRequest{TenantId: tenant, PageSize: min(size, 100), PageToken: token})
			return page.GetRehearsals(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return a.printRehearsals(s, all)
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those of this tenant")
	cmd.Flags().StringVar(&cancel, "cancel", "", "end this rehearsal, which runs")
	cmd.Flags().IntVar(&limit, "limit", 20, "most to list; 0 for all")
	return cmd
}

// awaitRehearsal waits for its end, with a line on the error output when it
// gets to another phase, and one in a while.
func (a *app) awaitRehearsal(ctx context.Context, s *session, one *tmsv1.Rehearsal) (*tmsv1.Rehearsal, error) {
	tick := time.NewTicker(operationPoll)
	defer tick.Stop()
	phase, said := "", time.Time{}
	for one.GetState() == "running" {
		if one.GetPhase() != phase || time.Since(said) > linePause {
			phase, said = one.GetPhase(), time.Now()
			text := phase
			if text == "" {
				text = "waiting for a worker"
			}
			_, _ = fmt.Fprintf(a.err, "%s rehearsal %s: %s, %d of %d documents%s\n", said.UTC().Format(time.TimeOnly), one.GetId(), text, one.GetDocuments(), one.GetDocumentsTotal(), withReason(one.GetReason()))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; it goes on: tms upgrade rehearsals %s", ctx.Err(), one.GetId())
		case <-tick.C:
		}
		var err error
		if one, err = call(ctx, s, s.rehearsals.Get, &tmsv1.GetRehearsalRequest{Id: one.GetId()}); err != nil {
			return nil, err
		}
	}
	return one, nil
}

// rehearsalVerdict is an error unless the upgrade would succeed.
func rehearsalVerdict(r *tmsv1.Rehearsal, allow int32) error {
	switch {
	case r.GetState() == "failed":
		return &outcomeError{fmt.Sprintf("rehearsal %s could not be carried out: %s", r.GetId(), r.GetReason())}
	case r.GetState() == "running":
		return nil
	case r.GetVerdict() != "equal":
		return &outcomeError{fmt.Sprintf("the upgrade of %s to %s would fail, see the problems above", r.GetTenantId(), r.GetToRelease())}
	case r.GetQuarantined() > allow:
		return &outcomeError{fmt.Sprintf("%d documents of %s would be put into quarantine: mend them, or start the rollout with --allow-quarantine", r.GetQuarantined(), r.GetTenantId())}
	}
	return nil
}

func (a *app) printRehearsals(s *session, all []*tmsv1.Rehearsal) error {
	if s.json {
		return writeMessages(a.out, all)
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.GetId(), r.GetTenantId(), r.GetToRelease(), sampleText(r.GetSample()), r.GetState(), r.GetVerdict(), fmt.Sprint(r.GetDocuments()), fmt.Sprint(r.GetQuarantined()), stamp(r.GetCreateTime()), r.GetReason()})
	}
	return writeTable(a.out, []string{"rehearsal", "tenant", "to", "sample", "state", "verdict", "documents", "quarantined", "asked for", "reason"}, rows)
}

func sampleText(n int32) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprintf("%d per index", n)
}

func (a *app) printRehearsal(s *session, r *tmsv1.Rehearsal) error {
	if s.json {
		return writeMessage(a.out, r)
	}
	took := ""
	for _, phase := range []string{"prepare", "copy", "compare", "remove"} {
		if n, ok := r.GetPhaseSeconds()[phase]; ok {
			took += fmt.Sprintf("%s %s  ", phase, seconds(n))
		}
	}
	estimate := ""
	if r.GetEstimateSeconds() > 0 {
		estimate = "about " + seconds(r.GetEstimateSeconds())
	}
	err := writeFields(a.out,
		"rehearsal", r.GetId(), "tenant", r.GetTenantId(), "from", r.GetFromRelease(), "to", r.GetToRelease(), "sample", sampleText(r.GetSample()),
		"state", r.GetState()+withReason(r.GetReason()), "verdict", r.GetVerdict(), "indices", indicesText(r.GetIndices(), r.GetIndicesByMethod()), "shards", fmt.Sprint(r.GetShards()),
		"documents", fmt.Sprintf("%d of %d copied, %d compared", r.GetDocuments(), r.GetDocumentsTotal(), r.GetCompared()),
		"quarantined", fmt.Sprint(r.GetQuarantined()), "took", took, "upgrade", estimate, "removed", fmt.Sprintf("%d indices", r.GetRemoved()),
		"asked for by", r.GetCreatedBy(), "at", stamp(r.GetCreateTime()), "ended", stamp(r.GetFinishTime()),
	)
	if err == nil && len(r.GetFindings()) > 0 {
		var rows [][]string
		for _, f := range r.GetFindings() {
			rows = append(rows, []string{fmt.Sprint(f.GetDocuments()), f.GetKind(), f.GetIndex(), f.GetDocumentId(), f.GetReason()})
		}
		_, _ = fmt.Fprintln(a.out)
		err = writeTable(a.out, []string{"documents", "kind", "such as in", "document", "reason"}, rows)
	}
	var lines []string
	for _, p := range r.GetProblems() {
		lines = append(lines, "problem: "+p)
	}
	for _, x := range r.GetRefusals() {
		lines = append(lines, "in the way of a rollout: "+refusalText(x))
	}
	for _, n := range r.GetNotes() {
		lines = append(lines, "note: "+n)
	}
	for _, line := range lines {
		_, werr := fmt.Fprintln(a.out, line)
		err = errors.Join(err, werr)
	}
	return err
}

// upgradeProgressCommands are those that show what rollouts would do, do and
// did.
func (a *app) upgradeProgressCommands() []*cobra.Command {
	return []*cobra.Command{a.upgradeRehearseCommand(), a.upgradeRehearsalsCommand(), a.upgradeReportCommand(), a.upgradeProgressCommand(), a.upgradeEventsCommand()}
}
