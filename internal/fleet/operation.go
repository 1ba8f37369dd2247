package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tracardi/tms/releases"
)

type action int

const (
	insert action = iota
	update
	remove
)

// operation is one write and what it does to the history.
type operation struct {
	write
	action        action
	release       string
	ref           ref
	before, after state
}

// compose chooses up to n operations on different documents, in the shape of
// the release that the tenant is on now.
func (w *Writer) compose(ctx context.Context, n int) ([]operation, error) {
	t := w.tenant
	version := t.history.release()
	r, err := t.cfg.Catalogue.Get(version)
	if err != nil {
		return nil, err
	}
	var ops []operation
	used := map[docID]bool{}
	for range n {
		var op operation
		var ok bool
		switch draw := w.rng.Float64(); {
		case draw < w.cfg.Updates:
			op, ok, err = w.change(ctx, r, update)
		case draw < w.cfg.Updates+w.cfg.Deletes:
			op, ok, err = w.change(ctx, r, remove)
		}
		if err == nil && !ok { // or nothing is left to change
			op, ok, err = w.newcomer(r)
		}
		if err != nil {
			return nil, err
		}
		if ok && !used[op.ref.doc()] {
			used[op.ref.doc()] = true
			ops = append(ops, op)
		}
	}
	return ops, nil
}

// newcomer is a new document in today's partition.
func (w *Writer) newcomer(r *releases.Release) (operation, bool, error) {
	t := w.tenant
	resources, err := t.resources(r)
	if err != nil {
		return operation{}, false, err
	}
	drafts := t.one(resources, w.rng)
	if drafts == nil {
		return operation{}, false, nil
	}
	d := *drafts
	serial := t.reserve([]draft{d})[0]
	now := t.cfg.Now()
	id, doc := t.generate(d.slot.res, serial, monthsUntil(now, 1)[0])
	raw, err := json.Marshal(doc)
	if err != nil {
		return operation{}, false, fmt.Errorf("encode %s %s: %w", d.slot.res.Key, id, err)
	}
	label := partition(d.slot.res.Partitioning, now)
	return operation{
		write:   write{indexName(d.slot.mode, r.Prefix, t.named(r.Prefix), d.slot.res.Base, label), id, raw},
		action:  insert,
		release: r.Version,
		ref:     ref{d.slot.mode, d.slot.res.Key, label, id},
		before:  state{absent: true},
		after:   state{source: raw},
	}, true, nil
}

// change updates or deletes a document, where it lives.
func (w *Writer) change(ctx context.Context, r *releases.Release, what action) (operation, bool, error) {
	t := w.tenant
	// Documents that came from the release before are the interesting ones.
	if r.Version != t.release.Version && w.rng.IntN(2) == 0 {
		return w.changeMigrated(ctx, r, what)
	}
	doc, s, ok := t.history.choose(r.Version, w.rng)
	if !ok {
		return operation{}, false, nil
	}
	if s.back != nil || doc.partition == anywhere {
		return w.changeReturned(ctx, r, doc, s, what)
	}
	res, ok := resource(r, doc.resource)
	if !ok {
		return operation{}, false, nil
	}
	source, err := t.source(res, s)
	if err != nil {
		return operation{}, false, err
	}
	index := indexName(doc.mode, r.Prefix, t.named(r.Prefix), res.Base, doc.partition)
	return w.changed(r, res, doc, index, s, source, what)
}

// changeMigrated reads a document of an earlier release through its alias, as
// Tracardi does, and writes to the index that it was found in. What is read is
// compared first: written back, a lost update would look like a new one.
func (w *Writer) changeMigrated(ctx context.Context, r *releases.Release, what action) (operation, bool, error) {
	t := w.tenant
	doc, s, ok := t.history.choose(t.release.Version, w.rng)
	if !ok {
		return operation{}, false, nil
	}
	c := copyOf{ref: doc, states: []state{s}, release: t.release.Version}
	if t.overwritten(c, r.Version) {
		return operation{}, false, nil
	}
	route, err := t.route(c.release, r.Version)
	if err != nil {
		return operation{}, false, err
	}
	key, res, ok := route.target(doc.resource)
	if !ok {
		return operation{}, false, nil
	}
	hits, err := t.engine.find(ctx, aliasName(doc.mode, t.named(r.Prefix), res.Base), doc.id)
	if err != nil || len(hits) != 1 {
		return operation{}, false, err // in quarantine, or lost: the judge will say
	}
	if t.prefixOf(hits[0].Index, doc.mode) != r.Prefix {
		// The aliases have moved, a rollback perhaps, since the writer looked
		// at them last: this document is of another release. The next look
		// tells.
		return operation{}, false, nil
	}
	if what := t.compare(route, c, hits[0].Source); what != "" {
		t.note(Discrepancy{Stale, hits[0].Index, doc.id, "the writer read it after the switch: " + what})
		return operation{}, false, nil
	}
	prefix := indexName(doc.mode, r.Prefix, t.named(r.Prefix), res.Base, "")
	label, ok := labelOf(hits[0].Index, prefix, res.Partitioning)
	if !ok {
		t.note(Discrepancy{Misplaced, hits[0].Index, doc.id, "found under the alias in an index that is no partition of " + prefix})
		return operation{}, false, nil
	}
	now := ref{doc.mode, key, label, doc.id}
	return w.changed(r, res, now, hits[0].Index, state{source: hits[0].Source}, hits[0].Source, what)
}

func (w *Writer) changed(r *releases.Release, res releases.Resource, doc ref, index string, before state, source json.RawMessage, what action) (operation, bool, error) {
	op := operation{
		write:   write{index: index, id: doc.id},
		action:  what,
		release: r.Version,
		ref:     doc,
		before:  before,
		after:   state{absent: true},
	}
	if what == remove {
		return op, true, nil
	}
	var fields map[string]any
	if err := decode(source, &fields); err != nil {
		return op, false, fmt.Errorf("document %s of %s: %w", doc.id, index, err)
	}
	s := &shape{mapping: res.Mapping, doc: fields}
	revision := fmt.Sprintf("revision %d", w.rng.Uint32())
	s.put(revision, "aux.revision", "properties.revision", "message", "description", "email", "name")
	raw, err := json.Marshal(fields)
	if err != nil {
		return op, false, fmt.Errorf("document %s of %s: %w", doc.id, index, err)
	}
	op.source, op.after = raw, state{source: raw}
	return op, true, nil
}

func resource(r *releases.Release, key string) (releases.Resource, bool) {
	i := slices.IndexFunc(r.Resources, func(res releases.Resource) bool { return res.Key == key })
	if i < 0 {
		return releases.Resource{}, false
	}
	return r.Resources[i], true
}

// followAliases looks where the tenant's aliases point and moves the history
// there, if all of them point to another release than before.
func (t *Tenant) followAliases(ctx context.Context, w *Writer) error {
	r, err := t.aliased(ctx)
	if err != nil || r == nil || r.Version == t.history.release() {
		return err
	}
	t.moveTo(r.Version)
	w.mu.Lock()
	w.stats.Switches++
	w.mu.Unlock()
	return nil
}

// aliased returns the one release that all aliases of the tenant's present
// resources point to, nil while they do not agree.
func (t *Tenant) aliased(ctx context.Context) (*releases.Release, error) {
	aliases, err := t.engine.aliases(ctx, t.aliasPatterns()...)
	if err != nil {
		return nil, err
	}
	prefixes := map[string]bool{}
	for alias, indices := range aliases {
		for _, index := range indices {
			prefixes[t.prefixOf(index, aliasMode(alias))] = true
		}
	}
	if len(prefixes) != 1 {
		return nil, nil
	}
	for prefix := range prefixes {
		return t.cfg.Catalogue.ByPrefix(prefix)
	}
	return nil, nil
}

func (t *Tenant) aliasPatterns() []string {
	out := []string{t.cfg.Tenant + ".tracardi-*", string(Production) + t.cfg.Tenant + ".tracardi-*"}
	if code := t.cfg.CodeName; code != "" {
		out = append(out, code+".tracardi-*", string(Production)+code+".tracardi-*")
	}
	return out
}
