package cli

import (
	"context"
	"fmt"
	"strings"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// plan prints what a rollout would do; refusals are an error after that.
func (a *app) plan(ctx context.Context, s *session, f rolloutFlags) error {
	p, err := call(ctx, s, s.upgrades.Plan, &tmsv1.PlanRolloutRequest{ToRelease: f.to, Options: f.options()})
	if err != nil {
		return err
	}
	if s.json {
		err = writeMessage(a.out, p)
	} else {
		err = a.printPlan(p)
	}
	if err == nil && len(p.GetRefusals()) > 0 {
		err = &refusedError{p.GetRefusals()}
	}
	return err
}

func (a *app) printPlan(p *tmsv1.RolloutPlan) error {
	var rows [][]string
	for _, t := range p.GetTenants() {
		byMethod := map[string]int32{}
		var documents int64
		for _, m := range t.GetMoves() {
			byMethod[m.GetMethod()]++
			documents += m.GetTotal()
		}
		way := strings.Join(t.GetPath(), " → ")
		if len(t.GetPath()) < 2 {
			way = t.GetFromRelease() + ", nothing to do"
		}
		rows = append(rows, []string{t.GetTenantId(), way, indicesText(int32(len(t.GetMoves())), byMethod), fmt.Sprint(documents), fmt.Sprint(t.GetShards())})
	}
	if err := writeTable(a.out, []string{"tenant", "way", "indices", "documents", "new shards"}, rows); err != nil {
		return err
	}
	if f := p.GetShards(); f != nil {
		if err := a.printForecast(f); err != nil {
			return err
		}
	}
	return a.printNotes(p)
}

func (a *app) printForecast(f *tmsv1.ShardForecast) error {
	_, err := fmt.Fprintf(a.out, "\nshards: %d now, %d more, at most %d at once; limit %d (%d per node, %d data nodes)\n",
		f.GetNow(), f.GetAdded(), f.GetPeak(), f.GetLimit(), f.GetMaxPerNode(), f.GetDataNodes())
	if err == nil && f.GetNeeded() > f.GetMaxPerNode() {
		_, err = fmt.Fprintf(a.out, "cluster.max_shards_per_node: %d would do\n", f.GetNeeded())
	}
	return err
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
	for i, note := range order {
		lead := ""
		if i == 0 {
			lead = "\nnotes:\n"
		}
		names := about[note]
		who := strings.Join(names[:min(most, len(names))], ", ")
		if len(names) > most {
			who += fmt.Sprintf(" and %d more", len(names)-most)
		}
		if _, err := fmt.Fprintf(a.out, "%s  - %s (%s)\n", lead, note, who); err != nil {
			return err
		}
	}
	return nil
}
