package upgrader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// wayBack is one resource of the new version in one environment, or all those
// that documents of one old resource were routed to, with all partitions, and
// the old version's indices that the documents came from.
type wayBack struct {
	mode naming.Mode
	to   releases.Resource // in the new release, the first of several
	// from is the resource in the old release; nil when there is none, or when
	// documents of it went into several at once, so that the way back is not clear.
	from  *releases.Resource
	lines map[string]lineage // by the base name of the new resource
	news  []string           // from the oldest partition to the newest
	olds  []string           // likewise; those that the rollback has made included
	// feeds are the moves of each old index; written are old indices that this
	// pass has written to since they were refreshed. See places.go.
	feeding sync.Once
	feeds   map[string][]*Move
	written map[string]bool
}

// waysBack sorts the indices of both versions.
func (s *session) waysBack(news, olds map[string]IndexStats) []*wayBack {
	ways := map[string]*wayBack{}
	for _, name := range sortedKeys(news) {
		n, ok := naming.Parse(name)
		if !ok || n.Mode == naming.Static {
			continue
		}
		res, ok := resourceByBase(s.l.to, n)
		if !ok {
			continue
		}
		key := s.wayKey(n.Mode, res)
		w := ways[key]
		if w == nil {
			w = s.wayOf(n.Mode, res, olds)
			ways[key] = w
		}
		if w.from != nil {
			w.lines[res.Base] = s.l.lineages[res.Key].in(environments[n.Mode])
		}
		w.news = append(w.news, name)
	}
	var out []*wayBack
	for _, key := range sortedKeys(ways) {
		slices.SortFunc(ways[key].news, partitionBefore)
		out = append(out, ways[key])
	}
	return out
}

// wayKey is the same for resources whose documents go back into one.
func (s *session) wayKey(m naming.Mode, res releases.Resource) string {
	if line, ok := s.l.lineages[res.Key]; ok && line.transform.Routed() && !s.l.doubled[line.source] {
		return string(m) + "<" + line.source
	}
	return string(m) + res.Key
}

func (s *session) wayOf(m naming.Mode, res releases.Resource, olds map[string]IndexStats) *wayBack {
	w := &wayBack{mode: m, to: res, lines: map[string]lineage{}, written: map[string]bool{}}
	line, ok := s.l.lineages[res.Key]
	if !ok || s.l.doubled[line.source] {
		return w
	}
	from, ok := s.l.from.Resource(line.source)
	if !ok || !slices.Contains(naming.ModesOf(from), m) {
		return w // what was written to production has no place in a release without
	}
	w.from = &from
	for name := range olds {
		if n, ok := naming.Parse(name); ok && n.Mode == m && n.Base == from.Base {
			w.olds = append(w.olds, name)
		}
	}
	slices.SortFunc(w.olds, partitionBefore)
	return w
}

// lineOf is how documents of an index of the new version came there.
func (w *wayBack) lineOf(index string) lineage {
	n, _ := naming.Parse(index)
	return w.lines[n.Base]
}

func partitionBefore(a, b string) int {
	na, _ := naming.Parse(a)
	nb, _ := naming.Parse(b)
	return cmp.Or(cmp.Compare(naming.PartitionStart(na.Partition), naming.PartitionStart(nb.Partition)), cmp.Compare(a, b))
}

// home is the index of the old version into which a document belongs that the
// old version does not have yet: the one of its own time, where the new
// version's partition holds several of the old one's.
func (w *wayBack) home(tenant, prefix, index string, source []byte) string {
	n, _ := naming.Parse(index)
	out := naming.IndexName{Mode: w.mode, Prefix: prefix, Tenant: tenant, Base: w.from.Base}
	if w.from.Partitioning == releases.Unpartitioned {
		return out.String()
	}
	if n.Partition == "" { // the new resource has no partitions
		out.Partition = w.youngest(documentTime(source))
		return out.String()
	}
	out.Partition = n.Partition
	if coarser, err := naming.TargetPartition(n.Partition, w.from.Partitioning, time.Time{}); err == nil {
		out.Partition = coarser
	}
	if own := naming.PartitionAt(w.from.Partitioning, documentTime(source)); holdsPartition(n.Partition, own) {
		out.Partition = own
	} else if partitionSpan(n.Partition) > partitionSpan(own) {
		// The document says nothing of its time: the first part of the span.
		year, month := naming.PartitionStart(n.Partition)/100, max(1, naming.PartitionStart(n.Partition)%100)
		out.Partition = naming.PartitionAt(w.from.Partitioning, time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC))
	}
	return out.String()
}

// youngest is the old version's partition of a document that comes out of an
// index without partitions: of its own time, else the last that there is.
func (w *wayBack) youngest(own time.Time) string {
	if !own.IsZero() || len(w.olds) == 0 {
		return naming.PartitionAt(w.from.Partitioning, own)
	}
	n, _ := naming.Parse(w.olds[len(w.olds)-1])
	return n.Partition
}

// partitionSpan is the number of months that a partition holds.
func partitionSpan(p string) int {
	switch {
	case len(p) > 5 && p[5:] == "year":
		return 12
	case len(p) > 5 && p[5] == 'q':
		return 3
	}
	return 1
}

// holdsPartition says whether all of inner lies in outer.
func holdsPartition(outer, inner string) bool {
	if outer == "" || inner == "" {
		return false
	}
	first := func(p string) int {
		at := naming.PartitionStart(p)
		return at/100*12 + max(1, at%100) - 1
	}
	return first(inner) >= first(outer) && first(inner)+partitionSpan(inner) <= first(outer)+partitionSpan(outer)
}

// in is the lineage as it is in one mode.
func (l lineage) in(mode string) lineage {
	l.transform, l.hops = l.transform.In(mode), slices.Clone(l.hops)
	for i := range l.hops {
		l.hops[i].transform = l.hops[i].transform.In(mode)
	}
	return l
}

// back leads a document of the new version back. lost names what would differ
// if it came forth again.
func (l lineage) back(doc, old map[string]any) (back map[string]any, lost []string, err error) {
	stages := make([]map[string]any, len(l.hops)+1)
	stages[0] = old
	for i, h := range l.hops {
		if stages[i] == nil {
			continue
		}
		// Apply works in place, and the stage before is needed as well.
		raw, err := releases.EncodeDoc(stages[i])
		if err != nil {
			return nil, nil, err
		}
		if stages[i+1], err = releases.DecodeDoc(raw); err != nil {
			return nil, nil, err
		}
		if h.transform.Apply(stages[i+1]) != nil {
			stages[i+1] = nil // it never came this way
		}
	}
	back = doc
	for i := len(l.hops) - 1; i >= 0; i-- {
		back, _ = l.hops[i].transform.Back(back, stages[i], l.hops[i].mapping)
	}
	raw, err := releases.EncodeDoc(back)
	if err != nil {
		return nil, nil, err
	}
	forth, err := releases.DecodeDoc(raw)
	if err != nil {
		return nil, nil, err
	}
	switch err := l.transform.Apply(forth); {
	case errors.Is(err, releases.ErrElsewhere):
		return nil, nil, err
	case err != nil:
		return back, []string{"the document as a whole: " + err.Error()}, nil //nolint:nilerr // it goes back and is listed
	}
	return back, releases.Lacking(doc, forth), nil
}

// openOld lifts the block from indices of the old version that are about to be
// written to, and makes the partitions that are missing. It is first noted
// that they are open.
func (s *session) openOld(ctx context.Context, names []string) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	r := s.t.Record.Return
	var closed, missing []string
	for _, name := range names {
		if s.open[name] {
			continue
		}
		closed = append(closed, name)
		if !slices.Contains(s.t.Record.OldIndices, name) && !slices.Contains(r.Made, name) {
			missing = append(missing, name)
		}
	}
	if len(closed) == 0 {
		return nil
	}
	if !r.Opened || len(missing) > 0 {
		s.update(func() { r.Opened, r.Made = true, append(r.Made, missing...) })
		if err := s.saveReturn(ctx); err != nil {
			return err
		}
	}
	for _, name := range closed {
		if slices.Contains(r.Made, name) {
			if err := s.makeOld(ctx, name); err != nil {
				return err
			}
		}
	}
	if err := s.engine.UnblockWrites(ctx, closed...); err != nil {
		return err
	}
	for _, name := range closed {
		s.open[name] = true
	}
	return nil
}

// makeOld makes a partition of the old version as the old release's own
// template would, closed and unseen until the aliases move.
func (s *session) makeOld(ctx context.Context, name string) error {
	n, _ := naming.Parse(name)
	res, ok := resourceByBase(s.l.from, n)
	if !ok {
		return fmt.Errorf("index %s belongs to no resource of %s", name, s.l.from.Version)
	}
	body := IndexBody{Settings: finalSettings(res, s.oldReplicas(n.Mode)), Mappings: res.Mapping}
	for _, t := range s.oldTemplates {
		if t.Name == n.Template() {
			body = closed(t)
		}
	}
	body.Settings["blocks"] = map[string]any{"write": true}
	err := s.engine.CreateIndex(ctx, name, body)
	if !errors.Is(err, ErrAlreadyExists) {
		return err
	}
	// Ours from before, or a stub.
	there, err := s.engine.Indices(ctx, name)
	if err != nil || !slices.ContainsFunc(there, unmapped) {
		return err
	}
	if written, err := s.removeStubs(ctx, there); err != nil || len(written) > 0 {
		return err
	}
	return s.engine.CreateIndex(ctx, name, body)
}

// oldReplicas is what the old version's indices of a mode have.
func (s *session) oldReplicas(mode naming.Mode) int {
	most := 0
	for _, m := range s.moves {
		if m.Mode == mode {
			most = max(most, m.Replicas)
		}
	}
	return most
}

// closeOld blocks the old version again after a pass, so that an old container
// is refused as before. first means that a worker may have died with it open.
func (s *session) closeOld(ctx context.Context, first bool) error {
	r := s.t.Record.Return
	if !r.Opened && len(s.open) == 0 {
		return nil
	}
	if first {
		r.Disturbed = true // perhaps: nobody has seen to it
	}
	if _, err := s.engine.BlockWrites(ctx, s.oldPatterns()...); err != nil {
		return err
	}
	if err := s.lookForStrangers(ctx); err != nil {
		return err
	}
	s.open, r.Opened = map[string]bool{}, false
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}
