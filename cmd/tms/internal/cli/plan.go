package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// plan prints what a rollout would do; refusals are an error after that.
func (a *app) plan(ctx context.Context, cmd *cobra.Command, s *session, f rolloutFlags) error {
	options, err := f.options(cmd)
	if err != nil {
		return err
	}
	p, err := call(ctx, s, s.upgrades.Plan, &tmsv1.PlanRolloutRequest{ToRelease: f.to, Options: options})
	if err != nil {
		return err
	}
	if s.json {
		err = writeMessage(a.out, p)
	} else {
		err = a.printPlan(p, f.moves)
	}
	if err == nil && len(p.GetRefusals()) > 0 {
		err = &refusedError{p.GetRefusals()}
	}
	return err
}

func (a *app) printPlan(p *tmsv1.RolloutPlan, moves bool) error {
	var rows [][]string
	for _, t := range p.GetTenants() {
		way := strings.Join(t.GetPath(), " → ")
		if len(t.GetPath()) < 2 {
			way = t.GetFromRelease() + ", nothing to do"
		}
		if t.GetKind() == "minor" {
			way += " (minor)"
		}
		rows = append(rows, []string{t.GetTenantId(), way, indicesText(t.GetIndices(), t.GetByMethod()), fmt.Sprint(t.GetDocuments()), fmt.Sprint(t.GetShards())})
	}
	if len(rows) > 0 { // nobody: the refusals say why
		if err := writeTable(a.out, []string{"tenant", "way", "indices", "documents", "new shards"}, rows); err != nil {
			return err
		}
	}
	if err := a.printMethods(p); err != nil {
		return err
	}
	if moves {
		if err := a.printPlannedMoves(p); err != nil {
			return err
		}
	}
	if err := a.printClusters(p); err != nil {
		return err
	}
	if err := a.printWavePlans(p); err != nil {
		return err
	}
	if err := a.printNotes(p); err != nil {
		return err
	}
	return a.printLeftOut(p)
}

// printLeftOut names the tenants that were left out on purpose.
func (a *app) printLeftOut(p *tmsv1.RolloutPlan) error {
	var b strings.Builder
	if len(p.GetElsewhere()) > 0 {
		fmt.Fprintf(&b, "\nleft out by --cluster: %s\n", strings.Join(p.GetElsewhere(), ", "))
	}
	for i, id := range slices.Sorted(maps.Keys(p.GetOptions().GetExcept())) {
		if i == 0 {
			b.WriteString("\nexcepted:\n")
		}
		fmt.Fprintf(&b, "  - %s: %s\n", id, p.GetOptions().GetExcept()[id])
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// printClusters prints what each cluster has to hold; where there is one it
// has no name.
func (a *app) printClusters(p *tmsv1.RolloutPlan) error {
	all := p.GetClusters()
	if len(all) < 2 {
		all = []*tmsv1.ClusterPlan{{Shards: p.GetShards(), Forecast: p.GetForecast()}}
	}
	for _, c := range all {
		if c.GetCluster() != "" {
			if _, err := fmt.Fprintf(a.out, "\ncluster %s: %d tenants move\n", c.GetCluster(), c.GetTenants()); err != nil {
				return err
			}
		}
		if f := c.GetShards(); f.GetDataNodes() > 0 { // otherwise nobody was asked
			if err := a.printForecast(f); err != nil {
				return err
			}
		}
		if f := c.GetForecast(); f.GetDocuments() > 0 || f.GetLargestWave() > 0 {
			if err := a.printSimulation(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// printNotes prints remarks once, with the tenants they are about: most are
// the same for the whole fleet.
func (a *app) printNotes(p *tmsv1.RolloutPlan) error {
	const most = 5 // names in a line
	about := map[string][]string{}
	var order []string
	for _, t := range p.GetTenants() {
		for _, note := range t.GetNotes() {
			if about[note] == nil {
				order = append(order, note)
			}
			about[note] = append(about[note], t.GetTenantId())
		}
	}
	var lines []string
	for _, c := range p.GetClusters() {
		lines = append(lines, c.GetRemarks()...)
	}
	for _, note := range order {
		names := about[note]
		who := strings.Join(names[:min(most, len(names))], ", ")
		if len(names) > most {
			who += fmt.Sprintf(" and %d more", len(names)-most)
		}
		lines = append(lines, fmt.Sprintf("%s (%s)", note, who))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "\nnotes:\n  - %s\n", strings.Join(lines, "\n  - "))
	return err
}

// printMethods says how many indices get their documents by which method, and
// why.
func (a *app) printMethods(p *tmsv1.RolloutPlan) error {
	if len(p.GetMethods()) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(p.GetMethods()))
	for _, m := range p.GetMethods() {
		rows = append(rows, []string{m.GetMethod(), fmt.Sprint(m.GetIndices()), fmt.Sprint(m.GetDocuments()), m.GetReason()})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"method", "indices", "documents", "why"}, rows)
}

func (a *app) printPlannedMoves(p *tmsv1.RolloutPlan) error {
	if p.GetMovesOmitted() {
		_, err := fmt.Fprintln(a.out, "\nmore than 50,000 target indices are not listed one by one: plan fewer tenants with --tenant, --label or --cluster to see them")
		return err
	}
	var rows [][]string
	for _, t := range p.GetTenants() {
		for _, m := range t.GetMoves() {
			rows = append(rows, []string{t.GetTenantId(), m.GetTarget(), m.GetMethod(), fmt.Sprint(m.GetTotal()), m.GetReason()})
		}
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"tenant", "target", "method", "documents", "why"}, rows)
}
