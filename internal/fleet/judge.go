package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
)

// Document names a document by the index it was read from.
type Document struct{ Index, ID string }

// Expect is what a tenant should be like.
type Expect struct {
	Release string // version that every alias must point to
	// Quarantined are the documents that the upgrade reports as quarantined,
	// by source index and id.
	Quarantined map[Document]struct{}
	// NotCarried are the documents that a rollback reports as not carried back,
	// or not whole (kind not_carried_back), by index of the new version and id.
	// After going forth again, those of the rollback before count as well.
	NotCarried map[Document]struct{}
}

// Judge compares the tenant with what was acknowledged to its writers: every
// document exactly once under its alias, in its last acknowledged version after
// the transforms, nothing deleted, nothing that nobody wrote, and the complete
// layout of the release around it. After a rollback Expect.Release is the old
// one; what was acknowledged in the new one's shape must have come back, or be
// in Expect.NotCarried.
//
// The tenant's writers must be stopped or paused. The error is about the
// judging, not about the tenant.
func (t *Tenant) Judge(ctx context.Context, e Expect) (*Report, error) {
	r, err := t.cfg.Catalogue.Get(e.Release)
	if err != nil {
		return nil, fmt.Errorf("judge tenant %s: %w", t.cfg.Tenant, err)
	}
	resources, err := t.resources(r)
	if err != nil {
		return nil, fmt.Errorf("judge tenant %s: %w", t.cfg.Tenant, err)
	}
	t.moveTo(r.Version)
	if t.flattened, err = t.engine.flattenedType(ctx); err != nil {
		return nil, fmt.Errorf("judge tenant %s: %w", t.cfg.Tenant, err)
	}
	j := &judge{
		tenant:      t,
		release:     r,
		report:      &Report{Tenant: t.cfg.Tenant, Release: r.Version},
		quarantined: t.quarantined(e.Quarantined),
		aside:       t.quarantined(e.NotCarried),
	}
	present, err := j.layout(ctx, resources)
	if err == nil {
		err = j.documents(ctx, resources, present)
	}
	if err != nil {
		return nil, fmt.Errorf("judge tenant %s: %w", t.cfg.Tenant, err)
	}
	noticed, n := t.found.list()
	named, total := j.found.list()
	j.report.Discrepancies = append(named, noticed...)
	j.report.Found = total + n
	return j.report, nil
}

type judge struct {
	tenant      *Tenant
	release     *releases.Release
	report      *Report
	quarantined map[quarantineKey]bool
	aside       map[quarantineKey]bool // not carried back
	found       findings
}

// quarantineKey is a quarantined document without the version of its index:
// a chain of upgrades may name any index on the way.
type quarantineKey struct {
	mode Mode
	base string // "tracardi-profile-2026-11"
	id   string
}

func (t *Tenant) quarantined(documents map[Document]struct{}) map[quarantineKey]bool {
	keys := map[quarantineKey]bool{}
	for d := range documents {
		mode := aliasMode(d.Index)
		for _, tenant := range []string{t.cfg.Tenant, t.named(t.release.Prefix)} {
			if _, name, ok := strings.Cut(d.Index, "."+tenant+"."); ok {
				keys[quarantineKey{mode, name, d.ID}] = true
			}
		}
	}
	return keys
}

// aliasMode reads the mode off an alias or index name.
func aliasMode(name string) Mode {
	for _, m := range []Mode{Production, Static} {
		if strings.HasPrefix(name, string(m)) {
			return m
		}
	}
	return Staging
}

// claim is one acknowledged document and what came of it.
type claim struct {
	copyOf
	route route
	leg   leg
	index string // where it belongs, "" when its partition is the upgrade's choice
	seen  bool
}

// documents compares the content of every alias that is there.
func (j *judge) documents(ctx context.Context, resources []releases.Resource, present map[string]bool) error {
	claims, err := j.claims()
	if err != nil {
		return err
	}
	if err := j.tenant.engine.refresh(ctx, j.tenant.aliasPatterns()...); err != nil {
		return err
	}
	for _, s := range slots(resources) {
		if s.mode == Static {
			continue // nobody's data: filled by installers, shared by versions
		}
		of := claims[slotKey{s.mode, s.res.Key}]
		delete(claims, slotKey{s.mode, s.res.Key})
		alias := aliasName(s.mode, j.tenant.named(j.release.Prefix), s.res.Base)
		if present[alias] {
			if err := j.tenant.engine.scan(ctx, alias, func(h hit) { j.judge(s, of[h.ID], h) }); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(of)) {
			j.settle(alias, of[id])
		}
	}
	return nil
}

type slotKey struct {
	mode     Mode
	resource string
}

// claims lists the acknowledged documents under the slot of the judged release
// where each belongs. What was written in a later shape replaces what it was
// made from.
func (j *judge) claims() (map[slotKey]map[string][]*claim, error) {
	t := j.tenant
	claims := map[slotKey]map[string][]*claim{}
	for _, r := range t.cfg.Catalogue.List() {
		records := t.history.snapshot(r.Version)
		if len(records) == 0 {
			continue
		}
		if back, err := t.cfg.Catalogue.Path(j.release.Version, r.Version); err == nil && len(back) > 0 {
			continue // a resource that the judged release does not know
		}
		rt, err := t.route(r.Version, j.release.Version)
		if err != nil {
			return nil, err
		}
		for doc, rec := range records {
			c := copyOf{doc, rec.states, r.Version}
			l, ok := rt.walk(doc.resource, doc.partition)
			if !ok || t.overwritten(c, j.release.Version) {
				continue
			}
			cl := &claim{copyOf: c, route: rt, leg: l}
			if l.known {
				cl.index = indexName(doc.mode, j.release.Prefix, t.named(j.release.Prefix), l.res.Base, l.label)
			}
			key := slotKey{doc.mode, l.res.Key}
			if claims[key] == nil {
				claims[key] = map[string][]*claim{}
			}
			claims[key][doc.id] = append(claims[key][doc.id], cl)
		}
	}
	for _, ids := range claims {
		for _, list := range ids {
			slices.SortFunc(list, newestFirst)
		}
	}
	return claims, nil
}

// newestFirst orders copies of one id by their partition. Awkward is the only
// one who writes such copies, and it makes the younger partition hold the
// younger document by any measure.
func newestFirst(a, b *claim) int {
	at, _ := month(a.ref.partition)
	bt, _ := month(b.ref.partition)
	return bt.Compare(at)
}

// judge decides over one document that was found.
func (j *judge) judge(s slot, claims []*claim, h hit) {
	add := func(f Fault, what string) { j.found.add(Discrepancy{f, h.Index, h.ID, what}) }
	prefix := indexName(s.mode, j.release.Prefix, j.tenant.named(j.release.Prefix), s.res.Base, "")
	if _, ok := labelOf(h.Index, prefix, s.res.Partitioning); !ok {
		add(Misplaced, fmt.Sprintf("the index is no partition of %s", prefix))
	}
	if len(claims) == 0 {
		add(Stray, "nobody wrote it")
		return
	}
	here := slices.Clone(claims)
	here = slices.DeleteFunc(here, func(c *claim) bool { return c.index != "" && c.index != h.Index })
	if len(here) == 0 {
		fault := Misplaced
		if slices.ContainsFunc(claims, func(c *claim) bool { return c.seen }) {
			fault = Duplicate
		}
		add(fault, "it belongs into "+claims[0].index)
		return
	}
	if slices.ContainsFunc(here, func(c *claim) bool { return c.seen }) {
		add(Duplicate, "it was found under the alias before")
		return
	}
	newest := here[0]
	newest.seen = true
	switch why := j.tenant.compare(newest.route, newest.copyOf, h.Source); {
	case why == "":
		j.report.Documents++
	case len(newest.states) == 1 && newest.states[0].absent:
		add(Resurrected, "its deletion was acknowledged")
		return
	case j.notCarried(newest):
		j.report.Quarantined++
		return
	default:
		add(Stale, why)
		return
	}
	if j.inQuarantine(newest) && len(here) == 1 {
		add(Quarantine, "it is quarantined and in its index as well")
	}
}

// settle decides over the copies of one id that were not found.
func (j *judge) settle(alias string, claims []*claim) {
	for _, c := range claims {
		mayBeAbsent := slices.ContainsFunc(c.states, func(s state) bool { return s.absent })
		if len(c.states) > 1 {
			j.report.Uncertain++
		}
		switch {
		case c.seen:
		case mayBeAbsent:
			j.report.Deleted++
		case j.inQuarantine(c), j.notCarried(c):
			j.report.Quarantined++
		case j.dropped(c):
		default:
			where := c.index
			if where == "" {
				where = alias
			}
			j.found.add(Discrepancy{Missing, where, c.ref.id, "acknowledged in release " + c.release + ", partition " + quoted(c.ref.partition)})
		}
	}
}

func quoted(label string) string {
	if label == "" {
		return "none"
	}
	return label
}

func (j *judge) inQuarantine(c *claim) bool {
	return slices.ContainsFunc(c.leg.bases, func(base string) bool {
		return j.quarantined[quarantineKey{c.ref.mode, base, c.ref.id}]
	})
}

// dropped says that the transform drops the document on purpose.
func (j *judge) dropped(c *claim) bool {
	for _, s := range c.states {
		if s.back != nil {
			continue
		}
		if _, _, err := j.tenant.expected(c.route, c.leg, c.copyOf, s); errors.Is(err, releases.ErrDropped) {
			return true
		}
	}
	return false
}
