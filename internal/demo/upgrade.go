package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

const (
	callLimit = 2 * time.Minute
	// settleLimit bounds the wait for every writer to have followed its
	// aliases and to have written to the new version.
	settleLimit = time.Minute
	// writesAfter is how many writes to the new version each writer makes
	// before it is stopped.
	writesAfter = 30
)

// outcome is what there is to judge.
type outcome struct {
	rollout    string
	exit       int // of `tms upgrade start --wait`
	took       time.Duration
	tenants    map[string]*tmsv1.RolloutTenant
	households []*household
	reports    map[string]*fleet.Report
}

// upgradeUnderWrites is the main part: plan, shard limit, writers, rollout,
// judgement.
func (d *demo) upgradeUnderWrites(ctx context.Context) (*outcome, error) {
	d.title("Upgrade to %s", d.To)
	if err := d.plan(ctx); err != nil {
		return nil, err
	}
	out := &outcome{tenants: map[string]*tmsv1.RolloutTenant{}, reports: map[string]*fleet.Report{}}
	var stop func() error
	out.households, stop = d.startWriters(ctx)
	defer func() { _ = stop() }() // the first call's error is what counts
	if d.Rate > 0 {
		d.say("a writer per tenant makes %g writes a second (new documents, updates, deletions) to full,\nversioned index names, as Tracardi does; a watcher per tenant looks at its aliases", d.Rate)
	}
	began := time.Now()
	if err := d.rollOut(ctx, out); err != nil {
		return nil, err
	}
	out.took = time.Since(began)
	if out.exit == 0 {
		if err := d.writeOn(ctx, out.households); err != nil {
			return nil, err
		}
	}
	if err := stop(); err != nil {
		return nil, err
	}
	d.say("writers stopped")
	if err := d.collect(ctx, out); err != nil {
		return nil, err
	}
	return out, d.judge(ctx, out)
}

// plan asks TMS for the plan, and makes room where it is refused because of
// the shard limit.
func (d *demo) plan(ctx context.Context) error {
	ask := func() (*tmsv1.RolloutPlan, error) {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		return d.upgrades.Plan(ctx, &tmsv1.PlanRolloutRequest{ToRelease: d.To})
	}
	plan, err := ask()
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if len(plan.GetRefusals()) == 0 {
		s := plan.GetShards()
		d.say("TMS plans %s; at most %d shards will be open, the limit is %d", moves(plan), s.GetPeak(), s.GetLimit())
		return nil
	}
	for _, r := range plan.GetRefusals() {
		d.say("TMS refuses, before anything is written (%s):\n%s\nremedy: %s", r.GetCode(), r.GetMessage(), r.GetRemedy())
	}
	if len(plan.GetRefusals()) > 1 || plan.GetRefusals()[0].GetCode() != "shard_limit" {
		return errors.New("the plan is refused for a reason that the demo did not expect")
	}
	raised, err := d.cluster.raise(ctx, int(plan.GetShards().GetNeeded()))
	if err != nil {
		return err
	}
	d.say("raised openly: %s = %d", limitSetting, raised)
	if plan, err = ask(); err != nil {
		return fmt.Errorf("plan again: %w", err)
	}
	if len(plan.GetRefusals()) > 0 {
		return fmt.Errorf("the plan is still refused: %s", plan.GetRefusals()[0].GetMessage())
	}
	s := plan.GetShards()
	d.say("asked again, TMS plans %s;\nat most %d shards will be open, the limit is %d", moves(plan), s.GetPeak(), s.GetLimit())
	return nil
}

func moves(plan *tmsv1.RolloutPlan) string {
	indices, documents := 0, int64(0)
	for _, t := range plan.GetTenants() {
		indices += len(t.GetMoves())
		for _, m := range t.GetMoves() {
			documents += m.GetTotal()
		}
	}
	return fmt.Sprintf("%d new indices for %d documents of %s", indices, documents, plural(len(plan.GetTenants()), "tenant", "tenants"))
}

// rollOut runs the operator's command and reads the result over gRPC.
func (d *demo) rollOut(ctx context.Context, out *outcome) error {
	args := []string{"upgrade", "start", "--to", d.To, "--wait"}
	if d.awkward > 0 {
		args = append(args, "--allow-quarantine", strconv.Itoa(d.awkward))
	}
	d.say("$ tms %s", joined(args))
	d.print("\n")
	exit, err := child.Command{Binary: d.Binary, Args: args, Env: d.server.ClientEnv(), Stdout: d.Out, Stderr: d.Err}.Run(ctx)
	d.print("\n")
	if err != nil {
		return err
	}
	out.exit = exit
	d.say("exit code %d", exit)
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	list, err := d.upgrades.List(ctx, &tmsv1.ListRolloutsRequest{PageSize: 1})
	if err != nil {
		return fmt.Errorf("list rollouts: %w", err)
	}
	if len(list.GetRollouts()) == 0 {
		return errors.New("no rollout was started")
	}
	out.rollout = list.GetRollouts()[0].GetId()
	return nil
}

func joined(args []string) string {
	text := args[0]
	for _, a := range args[1:] {
		text += " " + a
	}
	return text
}

// writeOn waits until every writer has gone on to the new version.
func (d *demo) writeOn(ctx context.Context, households []*household) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for _, h := range households {
		if h.writer == nil {
			continue
		}
		var from int64
		if err := h.writer.Wait(ctx, func(s fleet.WriterStats) bool {
			from = s.Acknowledged
			return s.Release == d.To
		}); err != nil {
			return fmt.Errorf("the writer did not follow its aliases to %s: %w", d.To, err)
		}
		if err := h.writer.Wait(ctx, func(s fleet.WriterStats) bool { return s.Acknowledged >= from+writesAfter }); err != nil {
			return err
		}
		if err := h.watcher.Wait(ctx, 1); err != nil {
			return err
		}
	}
	d.say("every writer has followed its aliases and written to %s", d.To)
	return nil
}

// collect reads the end of the rollout.
func (d *demo) collect(ctx context.Context, out *outcome) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	r, err := d.upgrades.Get(ctx, &tmsv1.GetRolloutRequest{Id: out.rollout})
	if err != nil {
		return fmt.Errorf("read rollout %s: %w", out.rollout, err)
	}
	for _, t := range r.GetTenants() {
		out.tenants[t.GetTenantId()] = t
	}
	return nil
}

// judge compares every tenant with what was acknowledged to its writer.
func (d *demo) judge(ctx context.Context, out *outcome) error {
	began := time.Now()
	aside, err := d.quarantined(ctx, out.rollout)
	if err != nil {
		return err
	}
	for _, h := range out.households {
		name := h.tenant.Name()
		report, err := h.tenant.Judge(ctx, fleet.Expect{Release: d.To, Quarantined: aside[name]})
		if err != nil {
			return err
		}
		out.reports[name] = report
	}
	d.say("judged from outside: every acknowledged write exactly once, no deleted document back,\nevery alias on one version (%s)", took(time.Since(began)))
	return nil
}

// quarantined lists what the rollout kept aside, by tenant.
func (d *demo) quarantined(ctx context.Context, rollout string) (map[string]map[fleet.Document]struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	all := map[string]map[fleet.Document]struct{}{}
	request := &tmsv1.ListQuarantineRequest{Id: rollout, PageSize: 1000, WithoutSource: true}
	for {
		page, err := d.upgrades.ListQuarantine(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list quarantine of %s: %w", rollout, err)
		}
		for _, doc := range page.GetDocuments() {
			if all[doc.GetTenantId()] == nil {
				all[doc.GetTenantId()] = map[fleet.Document]struct{}{}
			}
			all[doc.GetTenantId()][fleet.Document{Index: doc.GetIndex(), ID: doc.GetDocumentId()}] = struct{}{}
		}
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return all, nil
		}
	}
}
