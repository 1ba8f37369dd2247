package fleet

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tracardi/tms/releases"
)

// After a rollback every acknowledged write to the new version must be in the
// old one. How a document is led back is the upgrade's business; the judge
// demands that what it finds, led forth again, is what was acknowledged, or
// that the upgrade reports the document as not carried back, whole.

// returned is the state of a document that was written in the shape of a later
// release, and went back with a rollback.
type returned struct {
	release  string
	resource string // key in that release
	base     string // of the index that it was written to: what a report calls it
	source   json.RawMessage
}

// anywhere is the partition of a document whose place the rollback chose.
const anywhere = "*"

// moveTo makes version the one that is written. What was written in the shape
// of later ones becomes what the rollback had to bring back.
func (t *Tenant) moveTo(version string) {
	var later []*releases.Release
	seen := false
	for _, r := range t.cfg.Catalogue.List() {
		if seen {
			later = append(later, r)
		}
		seen = seen || r.Version == version
	}
	t.history.moveTo(version, later, t.predecessor)
}

// predecessor is the resource of release to that a resource of a later release
// was made of; false when there is none.
func (t *Tenant) predecessor(later *releases.Release, key, to string) (string, bool) {
	path, err := t.cfg.Catalogue.Path(to, later.Version)
	if err != nil {
		return "", false
	}
	for _, r := range slices.Backward(path) {
		step, ok := r.Migration.Steps[key]
		if !ok {
			return "", false
		}
		key = step.From
	}
	return key, true
}

// moveTo notes the release that the aliases point to, and folds what was
// written in the shape of later ones into its layer. What has no place there
// waits for the next upgrade.
func (h *history) moveTo(version string, later []*releases.Release, predecessor func(*releases.Release, string, string) (string, bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = version
	for _, r := range later {
		from := h.layers[r.Version]
		if from == nil {
			continue
		}
		into := h.layer(version)
		places := map[docID][]ref{}
		for place := range into.records {
			places[place.doc()] = append(places[place.doc()], place)
		}
		for was, rec := range from.records {
			key, ok := predecessor(r, was.resource, version)
			res, known := resource(r, was.resource)
			if !ok || !known {
				continue
			}
			doc := docID{was.mode, key, was.id}
			if len(places[doc]) == 0 {
				places[doc] = []ref{{was.mode, key, anywhere, was.id}}
			}
			origin := returned{release: r.Version, resource: was.resource, base: base(res.Base, was.partition)}
			for _, place := range places[doc] {
				into.bring(place, origin, rec)
			}
			from.hide(rec)
			delete(from.records, was)
			from.byID[was.doc()]--
		}
	}
}

// bring puts the states of a later release's record into a place.
func (l *layer) bring(place ref, origin returned, rec *record) {
	have := l.records[place]
	if have == nil {
		have = &record{pos: -1}
		l.records[place] = have
		l.byID[place.doc()]++
	}
	have.states = nil
	for _, s := range rec.states {
		switch {
		case s.absent:
			have.states = append(have.states, s)
		case s.back != nil:
			have.states = append(have.states, s)
		default:
			o := origin
			o.source = s.source
			have.states = append(have.states, state{back: &o})
		}
	}
	if len(have.states) > 1 || have.states[0].absent {
		l.hide(have)
	} else {
		l.show(place, have)
	}
}

// compareReturned says how a document of the judged release differs from one
// that a rollback brought back; "" when it is the same. Nulls and empty objects
// and lists are nothing.
func (t *Tenant) compareReturned(judged, key string, s returned, got map[string]any) string {
	var want map[string]any
	if err := decode(s.source, &want); err != nil {
		return "as acknowledged: " + err.Error()
	}
	forth, err := t.route(s.release, judged)
	start, doc := s.resource, want
	if err != nil {
		if forth, err = t.route(judged, s.release); err != nil {
			return err.Error()
		}
		start, doc = key, got
	}
	l, ok := forth.walk(start, anywhere)
	if !ok {
		return "its resource has no successor"
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	var led map[string]any
	if err := decode(raw, &led); err != nil {
		return err.Error()
	}
	for _, transform := range l.transforms {
		if err := transform.Apply(led); err != nil {
			return "the transform refuses it: " + err.Error()
		}
	}
	if start == key && forth.from.Version == judged {
		return difference("", bare(want), bare(led))
	}
	return difference("", bare(led), bare(got))
}

// bare is a value without nulls and empty objects and lists; nil when nothing
// is left.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if b := bare(e); b != nil {
				out[k] = b
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		some := false
		for _, e := range v {
			b := bare(e)
			some = some || b != nil
			out = append(out, b)
		}
		if !some {
			return nil
		}
		return out
	}
	return v
}

// changeReturned reads a document that came back with a rollback, and has
// perhaps been changed since, through its alias and changes it where it was
// found: a rollback chooses the partition.
func (w *Writer) changeReturned(ctx context.Context, r *releases.Release, doc ref, s state, what action) (operation, bool, error) {
	t := w.tenant
	res, ok := resource(r, doc.resource)
	if !ok {
		return operation{}, false, nil
	}
	hits, err := t.engine.find(ctx, aliasName(doc.mode, t.named(r.Prefix), res.Base), doc.id)
	if err != nil || len(hits) != 1 || t.prefixOf(hits[0].Index, doc.mode) != r.Prefix {
		return operation{}, false, err // not carried back, or lost: the judge will say
	}
	var have map[string]any
	if err := decode(hits[0].Source, &have); err != nil {
		return operation{}, false, err
	}
	same, err := t.sameReturned(r.Version, doc.resource, s, have)
	if err != nil || !same {
		return operation{}, false, err // in quarantine, or lost: the judge will say
	}
	return w.changed(r, res, doc, hits[0].Index, s, hits[0].Source, what)
}

// sameReturned says whether what was read is what was acknowledged last: as
// the rollback brought it, or as a writer has changed it since.
func (t *Tenant) sameReturned(version, key string, s state, have map[string]any) (bool, error) {
	if s.back != nil {
		return t.compareReturned(version, key, *s.back, have) == "", nil
	}
	var want map[string]any
	if err := decode(s.source, &want); err != nil {
		return false, err
	}
	return difference("", want, have) == "", nil
}

// notCarried says whether the upgrade reports a document as not carried back.
func (j *judge) notCarried(c *claim) bool {
	return slices.ContainsFunc(c.states, func(s state) bool {
		return s.back != nil && j.aside[quarantineKey{c.ref.mode, s.back.base, c.ref.id}]
	})
}
