package upgrader

import (
	"context"
	"slices"
	"sync"

	"github.com/tracardi/tms/upgrader/stream"
)

// quarantine mirrors which documents of the tenant are kept aside, so that
// copying and comparing need not ask Postgres for each. Safe for concurrent
// use.
type quarantine struct {
	mu   sync.Mutex
	docs map[string]map[string]asideDoc // index -> id
	n    int
	sum  int // those that count
}

type asideDoc struct {
	kind     QuarantineKind
	target   string
	resolved bool
	arrived  bool // a redrive has written it into the new version
}

func (d asideDoc) counts() bool { return d.kind.Counts() && !d.resolved }

func newQuarantine(docs []Quarantined) *quarantine {
	q := &quarantine{docs: map[string]map[string]asideDoc{}}
	for _, d := range docs {
		q.add(d)
	}
	return q
}

func (q *quarantine) add(d Quarantined) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := q.docs[d.Index]
	if ids == nil {
		ids = map[string]asideDoc{}
		q.docs[d.Index] = ids
	}
	if old, ok := ids[d.ID]; ok {
		q.uncount(old)
	}
	fresh := asideDoc{kind: d.Kind, target: d.Target, resolved: d.Resolved, arrived: d.Resolved && d.Outcome == string(OutcomeWritten)}
	ids[d.ID] = fresh
	q.n++
	if fresh.counts() {
		q.sum++
	}
}

func (q *quarantine) uncount(d asideDoc) {
	q.n--
	if d.counts() {
		q.sum--
	}
}

func (q *quarantine) drop(index, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old, ok := q.docs[index][id]; ok {
		q.uncount(old)
		delete(q.docs[index], id)
	}
}

// resolve marks documents that a redrive has written: they stay known, and
// count no more.
func (q *quarantine) resolve(index string, ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		d, ok := q.docs[index][id]
		if !ok {
			continue
		}
		if d.counts() {
			q.sum--
		}
		d.resolved, d.arrived = true, true
		q.docs[index][id] = d
	}
}

// has says whether a document of a source is kept aside.
func (q *quarantine) has(index, id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.docs[index][id]
	return ok
}

// neverWent says that nobody has ever seen a document of the old version in
// the new one: it was left out, and no redrive has written it since.
func (q *quarantine) neverWent(index, id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.docs[index][id].neverWent()
}

// twinNeverWent says that a document is the twin of one that never went: then
// the new version has never had their id, and nobody can have deleted it there.
func (q *quarantine) twinNeverWent(index, id string, siblings []string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.docs[index][id].kind == QuarantineDuplicate &&
		slices.ContainsFunc(siblings, func(s string) bool { return q.docs[s][id].neverWent() })
}

func (d asideDoc) neverWent() bool {
	return (d.kind == QuarantineRefused || d.kind == QuarantineDropped) && !d.arrived
}

// stayed lists the ids of an index of the old version that have nothing of
// their own in the new one: left out, or twins of documents that went forth.
func (q *quarantine) stayed(index string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []string
	for id, d := range q.docs[index] {
		if d.neverWent() || d.kind == QuarantineDuplicate {
			out = append(out, id)
		}
	}
	return out
}

// of lists the ids kept aside from an index, of one kind or of all ("").
func (q *quarantine) of(index string, kind QuarantineKind) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []string
	for id, d := range q.docs[index] {
		if kind == "" || d.kind == kind {
			out = append(out, id)
		}
	}
	return out
}

// counting is the number that counts against Options.AllowQuarantine.
func (q *quarantine) counting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sum
}

func (q *quarantine) total() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// quarantined fills a record.
func (s *session) quarantined(d stream.Doc, target string, k QuarantineKind, reason string) Quarantined {
	const mostReason = 1_000 // an engine's reason may quote the whole document
	if len(reason) > mostReason {
		reason = reason[:mostReason] + "…"
	}
	return Quarantined{
		RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID,
		Index: d.Index, ID: d.ID, Target: target, Kind: k, Reason: reason,
		Source: d.Source, At: s.r.now(),
	}
}

// keepAside stores documents in quarantine; past the limit it fails.
func (s *session) keepAside(ctx context.Context, docs ...Quarantined) error {
	if len(docs) == 0 {
		return nil
	}
	if err := s.room(ctx, docs); err != nil {
		return err
	}
	if err := s.r.store.AddQuarantine(ctx, s.lease, docs...); err != nil {
		return err
	}
	for _, d := range docs {
		s.aside.add(d)
	}
	return nil
}

// Bounds of a quarantine beyond those of a tenant. Past each the tenant fails:
// nothing is dropped silently, and Postgres is no document store.
const (
	// MaxQuarantinePerRollout is the number of documents of all tenants.
	MaxQuarantinePerRollout = 200_000
	// MaxQuarantinedBytes is the size of one document. Tracardi's are of 1 to
	// 4 KB, its largest (a plugin's memory) of some MB.
	MaxQuarantinedBytes = 16 << 20
)

// room says whether documents fit into quarantine.
func (s *session) room(ctx context.Context, docs []Quarantined) error {
	if n := s.aside.total() + len(docs); n > 2*MaxQuarantine {
		return failf("more than %d documents were refused: this is no odd document but a wrong transform; see `tms upgrade quarantine %s`", 2*MaxQuarantine, s.lease.RolloutID)
	}
	for _, d := range docs {
		if len(d.Source) > s.r.limits.QuarantineBytes {
			return failf("document %s of %s is refused (%s) and with %d bytes larger than the %d that quarantine keeps; mend or remove it in the old version, then `tms upgrade retry %s`",
				d.ID, d.Index, d.Reason, len(d.Source), s.r.limits.QuarantineBytes, s.lease.RolloutID)
		}
	}
	n, err := s.r.store.QuarantineSize(ctx, s.lease.RolloutID)
	if err != nil {
		return err
	}
	if n+len(docs) > s.r.limits.QuarantineDocs {
		return failf("the rollout keeps %d documents in quarantine and may keep %d: this is no odd document but a wrong transform; see `tms upgrade quarantine %s`, mend it, then retry", n, s.r.limits.QuarantineDocs, s.lease.RolloutID)
	}
	return nil
}

// takeBack removes documents from quarantine that have found their way.
func (s *session) takeBack(ctx context.Context, index string, ids ...string) error {
	var had []string
	for _, id := range ids {
		if s.aside.has(index, id) {
			had = append(had, id)
		}
	}
	if len(had) == 0 {
		return nil
	}
	if err := s.r.store.DropQuarantine(ctx, s.lease, index, had...); err != nil {
		return err
	}
	for _, id := range had {
		s.aside.drop(index, id)
	}
	return nil
}
