package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// An id may stand in several indices of a resource: in two months, whose
// documents went into two partitions of the new version, or into one where one
// of them was kept; and containers may write an id into a partition of the new
// version that stands in another one already. Each document of the new version
// has one place in the old one: that of the document that leads into its index;
// else one whose document is gone from the new version, before all in the index
// where a new document belongs; else a new one there. When that place is another
// document's, it is kept aside.

// oldPlace is where the old version holds a document, and the index of the new
// version that it leads into, "" for none.
type oldPlace struct {
	doc  stream.Doc
	into string
}

// placesOf reads the places of some ids, in the order of the old indices. live
// reads them by id, which also shows what was written this moment; a search
// finds them in one request.
func (s *session) placesOf(ctx context.Context, w *wayBack, ids []string, live bool) (map[string][]oldPlace, error) {
	out := map[string][]oldPlace{}
	found := map[string][]string{}
	if !live {
		var err error
		if found, err = s.engine.FindIDs(ctx, w.olds, ids); err != nil {
			return nil, err
		}
	}
	for _, index := range w.olds {
		there := found[index]
		if live {
			there = ids
		}
		if len(there) == 0 {
			continue
		}
		docs, err := s.engine.Get(ctx, index, there)
		if live && errors.Is(err, ErrNotFound) {
			continue // a partition that was to be made and was not needed
		}
		if err != nil {
			return nil, err
		}
		for id, d := range docs {
			out[id] = append(out[id], oldPlace{d, s.leadsInto(w, d)})
		}
	}
	return out, nil
}

// leadsInto is the index of the new version that a document of the old one goes
// into, as it is now; "" when that is not known: the rollback has made its
// partition, or the transform drops it.
func (s *session) leadsInto(w *wayBack, d stream.Doc) string {
	w.feeding.Do(func() {
		w.feeds = map[string][]*Move{}
		for _, m := range s.moves {
			for i := range m.Copies {
				if c := &m.Copies[i]; !c.Foreign && m.Mode == w.mode {
					w.feeds[c.Source] = append(w.feeds[c.Source], m)
				}
			}
		}
	})
	for _, m := range w.feeds[d.Index] {
		t := s.transformOf(m, d.Index)
		if t.Opaque() || !s.routed(m) {
			return m.Target
		}
		doc, err := releases.DecodeDoc(d.Source)
		if err != nil {
			continue
		}
		if !t.Dated() {
			if t.Apply(doc) == nil {
				return m.Target
			}
			continue
		}
		takers := s.takers(groupOf{m.Resource, m.Mode})
		switch at, err := t.Filer()(doc); {
		case err != nil:
		case at >= 0 && at < len(takers):
			return takers[at].Target
		default:
			return m.Target
		}
	}
	return ""
}

// oldStates finds the place of each document of a new index: the document that
// stands there is what it was before. Those without one are new, but for astray
// ones, whose place is another document's.
func (s *session) oldStates(ctx context.Context, w *wayBack, index string, docs []stream.Doc) (own map[string]stream.Doc, astray map[string]string, err error) {
	if len(w.written) > 0 {
		// What this pass has written for other partitions must be found.
		if err := s.engine.Refresh(ctx, sortedKeys(w.written)...); err != nil {
			return nil, nil, err
		}
		w.written = map[string]bool{}
	}
	places, err := s.placesOf(ctx, w, stream.IDs(docs), false)
	if err != nil {
		return nil, nil, err
	}
	own, astray = map[string]stream.Doc{}, map[string]string{}
	var doubtful []string
	for _, d := range docs {
		ps := places[d.ID]
		went := s.went(ps)
		switch {
		case len(ps) == 0:
		case len(went) == 0: // refused, or the twin of one that is gone
			own[d.ID] = ps[len(ps)-1].doc
		case len(went) == 1 && went[0].into == index:
			own[d.ID] = went[0].doc
		default:
			doubtful = append(doubtful, d.ID)
		}
	}
	if len(doubtful) == 0 {
		return own, astray, nil
	}
	holders, err := s.holding(ctx, w, doubtful)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range doubtful {
		a, err := s.assign(w, places[id], holders[id])
		if err != nil {
			return nil, nil, err
		}
		if p, ok := a.of[index]; ok {
			own[id] = p.doc
		} else if rival := a.rival(index); rival != "" {
			astray[id] = fmt.Sprintf("release %s has one place for it in %s, and the same id stands in %s", s.l.from.Version, a.homes[index], rival)
		}
	}
	return own, astray, nil
}

// went are the places whose documents are in the new version, or were.
func (s *session) went(places []oldPlace) []oldPlace {
	return slices.DeleteFunc(slices.Clone(places), func(p oldPlace) bool { return s.aside.has(p.doc.Index, p.doc.ID) })
}

// placement says which of the places of an id belongs to which of its
// documents in the new version.
type placement struct {
	of    map[string]oldPlace // by index of the new version
	homes map[string]string   // where those belong that no place leads into
	free  []oldPlace          // places that nobody has
}

// rival is the index whose document has the place where that of an index
// belongs, "" for none.
func (a *placement) rival(index string) string {
	for _, other := range sortedKeys(a.of) {
		if a.of[other].doc.Index == a.homes[index] {
			return other
		}
	}
	return ""
}

// assign gives the documents of an id their places.
func (s *session) assign(w *wayBack, places []oldPlace, holders map[string]stream.Doc) (*placement, error) {
	a := &placement{of: map[string]oldPlace{}, homes: map[string]string{}}
	for _, p := range s.went(places) {
		doc, there := holders[p.into]
		have, twice := a.of[p.into]
		switch {
		case !there:
			a.free = append(a.free, p)
		case twice && s.unchanged(w, have.doc, doc):
			a.free = append(a.free, p)
		default:
			if twice {
				a.free = append(a.free, have)
			}
			a.of[p.into] = p
		}
	}
	take := func(index string, i int) {
		a.of[index] = a.free[i]
		a.free = slices.Delete(a.free, i, i+1)
	}
	var left []string
	for _, index := range w.news {
		doc, there := holders[index]
		if _, placed := a.of[index]; placed || !there {
			continue
		}
		var err error
		if a.homes[index], err = s.homeOf(w, index, doc); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(a.free, func(p oldPlace) bool { return p.doc.Index == a.homes[index] }); i >= 0 {
			take(index, i)
			continue
		}
		left = append(left, index)
	}
	for _, index := range left {
		if len(a.free) > 0 {
			take(index, len(a.free)-1)
		}
	}
	return a, nil
}

// unchanged says whether a document of the old version makes one of the new.
func (s *session) unchanged(w *wayBack, old, doc stream.Doc) bool {
	t := transformedBy(w.lineOf(doc.Index).transform, old.Source)
	if t.kind != "" || t.elsewhere {
		return false
	}
	f, err := verify.DifferingFields(t.source, doc.Source)
	return err == nil && len(f) == 0
}

// holding reads the documents of the new version with some ids, by id and index.
func (s *session) holding(ctx context.Context, w *wayBack, ids []string) (map[string]map[string]stream.Doc, error) {
	out := map[string]map[string]stream.Doc{}
	for _, index := range w.news {
		docs, err := s.engine.Get(ctx, index, ids)
		if err != nil {
			return nil, err
		}
		for id, d := range docs {
			if out[id] == nil {
				out[id] = map[string]stream.Doc{}
			}
			out[id][index] = d
		}
	}
	return out, nil
}

// homeOf is the index of the old version into which a document of the new one
// belongs as a new one.
func (s *session) homeOf(w *wayBack, index string, d stream.Doc) (string, error) {
	doc, err := releases.DecodeDoc(d.Source)
	if err != nil {
		return "", fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	back, _, err := w.lineOf(index).back(doc, nil)
	if errors.Is(err, releases.ErrElsewhere) {
		return "", nil // it is kept aside for that
	}
	if err != nil {
		return "", fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	body, err := releases.EncodeDoc(back)
	if err != nil {
		return "", fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	return w.home(s.naming().In(s.l.from.Prefix), s.l.from.Prefix, index, body), nil
}

// abandoned lists the places of an id whose documents were deleted in the new
// version, while it still holds others of the same id.
func (s *session) abandoned(w *wayBack, places []oldPlace, holders map[string]stream.Doc) ([]stream.Doc, error) {
	a, err := s.assign(w, places, holders)
	if err != nil {
		return nil, err
	}
	var out []stream.Doc
	for _, p := range a.free {
		if p.into != "" || slices.Contains(s.t.Record.Return.Made, p.doc.Index) {
			out = append(out, p.doc)
		}
	}
	return out, nil
}

// repeatedIn lists the ids that stand in several indices.
func repeatedIn(ids map[string][]string) []string {
	seen, out := stream.NewIDSet(), []string(nil)
	twice := map[string]bool{}
	for _, index := range sortedKeys(ids) {
		for _, id := range ids[index] {
			if seen.Has(id) && !twice[id] {
				twice[id] = true
				out = append(out, id)
			}
			seen.Add(id)
		}
	}
	return out
}
