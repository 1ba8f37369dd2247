package upgrader

import (
	"context"
	"fmt"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// Resources that documents of one old resource were routed to have one way
// back. An id that was written to two of them since the switch has one place
// there: the resource gets it that the old version's document would be routed
// to, else the first one, and the other's is kept aside.

// branchTwins takes out of a page of documents those whose id stands in another
// resource of the way as well and has its place there.
func (s *session) branchTwins(ctx context.Context, w *wayBack, index string, docs []stream.Doc, old map[string]stream.Doc) (rest []stream.Doc, astray []Quarantined, err error) {
	if len(w.lines) < 2 {
		return docs, nil, nil
	}
	own, _ := naming.Parse(index)
	var others []string
	for _, name := range w.news {
		if n, _ := naming.Parse(name); n.Base != own.Base {
			others = append(others, name)
		}
	}
	found, err := s.engine.FindIDs(ctx, others, stream.IDs(docs))
	if err != nil {
		return nil, nil, err
	}
	rivals := map[string]string{} // the index of the other resource, by id
	for _, name := range others {
		for _, id := range found[name] {
			if rivals[id] == "" {
				rivals[id] = name
			}
		}
	}
	for _, d := range docs {
		rival := rivals[d.ID]
		if rival == "" || w.prefers(index, rival, old[d.ID]) {
			rest = append(rest, d)
			continue
		}
		astray = append(astray, s.quarantined(d, "", QuarantineNotCarriedBack, fmt.Sprintf("release %s has one place for it, and the same id stands in %s", s.l.from.Version, rival)))
	}
	return rest, astray, nil
}

// prefers says whether the place of an id in the old version belongs to an index
// rather than to a rival of another resource.
func (w *wayBack) prefers(index, rival string, old stream.Doc) bool {
	mine, _ := naming.Parse(index)
	other, _ := naming.Parse(rival)
	if old.Source != nil {
		for base, line := range w.lines {
			if transformedBy(line.transform, old.Source).elsewhere {
				continue
			}
			if base == mine.Base || base == other.Base {
				return base == mine.Base
			}
		}
	}
	return mine.Base < other.Base
}

// stayedNew counts those documents of the new version that have no place in the
// old one: of an id that several of its indices hold, those beyond its places.
func (s *session) stayedNew(ctx context.Context, w *wayBack) (int64, error) {
	known := map[string]bool{}
	for _, index := range w.news {
		for _, id := range s.aside.of(index, QuarantineNotCarriedBack) {
			known[id] = true
		}
	}
	if len(known) == 0 {
		return 0, nil
	}
	ids := sortedKeys(known)
	holders, err := s.holders(ctx, w.news, ids)
	if err != nil {
		return 0, err
	}
	carried, err := s.holders(ctx, w.olds, ids)
	if err != nil {
		return 0, err
	}
	var n int64
	for id, times := range holders {
		n += max(0, times-carried[id])
	}
	return n, nil
}

// holders counts in how many of some indices each id stands.
func (s *session) holders(ctx context.Context, indices, ids []string) (map[string]int64, error) {
	found, err := s.engine.FindIDs(ctx, indices, ids)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, there := range found {
		for _, id := range there {
			out[id]++
		}
	}
	return out, nil
}
