package fleet

import (
	"encoding/json"
	"math/rand/v2"
	"sync"
)

// ref names a document: id is unique within resource, mode and partition.
type ref struct {
	mode      Mode
	resource  string // key
	partition string // label, "" when the resource has none
	id        string
}

// state is what a document may look like: absent, a generated document
// (source nil), a stored source, or one that a rollback brought back.
type state struct {
	absent bool
	serial int // of a generated document
	month  int // index into Tenant.months, for a generated document
	source json.RawMessage
	back   *returned
}

// record is what is known of one document.
type record struct {
	// states are what the engine may hold: the last acknowledged state and,
	// when the answer to a later write never came, that one as well.
	states []state
	// awkward documents are left alone by writers.
	awkward bool
	pos     int // in layer.alive, -1 when not in it
}

// layer holds the documents that were written in the shape of one release.
type layer struct {
	records map[ref]*record
	alive   []ref // documents that a writer may choose, in no order
	byID    map[docID]int
}

// docID is a document under its alias, whatever its partition.
type docID struct {
	mode     Mode
	resource string
	id       string
}

func (r ref) doc() docID { return docID{r.mode, r.resource, r.id} }

// history is what the engine acknowledged to the writers of one tenant. It is
// safe for concurrent use.
type history struct {
	mu      sync.Mutex
	first   string
	current string // release that is written now
	layers  map[string]*layer
}

func newHistory(release string) *history {
	return &history{first: release, current: release, layers: map[string]*layer{release: newLayer()}}
}

func newLayer() *layer {
	return &layer{records: map[ref]*record{}, byID: map[docID]int{}}
}

func (h *history) layer(release string) *layer {
	l := h.layers[release]
	if l == nil {
		l = newLayer()
		h.layers[release] = l
	}
	return l
}

// commit records an acknowledged state.
func (h *history) commit(release string, r ref, s state, awkward bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.layer(release)
	rec := l.records[r]
	if rec == nil {
		rec = &record{pos: -1}
		l.records[r] = rec
		l.byID[r.doc()]++
	}
	rec.states, rec.awkward = []state{s}, awkward
	if s.absent || awkward {
		l.hide(rec)
	} else {
		l.show(r, rec)
	}
}

// doubt records that a write was sent and not answered. before is what the
// document was if the write did not happen. No writer touches it again: a late
// execution could overtake a later write, and then nothing could be said.
func (h *history) doubt(release string, r ref, before, after state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.layer(release)
	rec := l.records[r]
	if rec == nil {
		rec = &record{pos: -1, states: []state{before}}
		l.records[r] = rec
		l.byID[r.doc()]++
	}
	rec.states = append(rec.states, after)
	l.hide(rec)
}

func (l *layer) show(r ref, rec *record) {
	if rec.pos < 0 {
		rec.pos = len(l.alive)
		l.alive = append(l.alive, r)
	}
}

func (l *layer) hide(rec *record) {
	if rec.pos < 0 {
		return
	}
	last := l.alive[len(l.alive)-1]
	l.alive[rec.pos] = last
	l.records[last].pos = rec.pos
	l.alive = l.alive[:len(l.alive)-1]
	rec.pos = -1
}

// choose picks a living document of one release at random.
func (h *history) choose(release string, rng *rand.Rand) (ref, state, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.layers[release]
	if l == nil || len(l.alive) == 0 {
		return ref{}, state{}, false
	}
	r := l.alive[rng.IntN(len(l.alive))]
	return r, l.records[r].states[0], true
}

// touched says whether the document was written in the shape of release.
func (h *history) touched(release string, d docID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.layers[release]
	return l != nil && l.byID[d] > 0
}

// release is the one that is written now.
func (h *history) release() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// snapshot copies the records of one release, without their sources.
func (h *history) snapshot(release string) map[ref]record {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.layers[release]
	if l == nil {
		return nil
	}
	out := make(map[ref]record, len(l.records))
	for r, rec := range l.records {
		out[r] = record{states: append([]state(nil), rec.states...), awkward: rec.awkward}
	}
	return out
}
