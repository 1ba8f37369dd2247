package upgrader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
)

// bulkBytes bounds one bulk request; the engine's own limit is 100 MB
// (http.max_content_length), what is best for its heap is a tenth of that.
const bulkBytes = 8 << 20

// transformed is a document on its way, or the reason why it goes nowhere.
type transformed struct {
	source json.RawMessage
	kind   QuarantineKind // set when it goes into quarantine
	reason string
	// elsewhere documents belong into the target of another move.
	elsewhere bool
	// script is what the engine has to do with source when it stores it, ""
	// for nothing.
	script string
	params map[string]any
}

// transform passes a document of an index of the old version through the
// lineage of a move's resource.
func (s *session) transform(m *Move, index string, source json.RawMessage) transformed {
	t := transformedBy(s.transformOf(m, index), source)
	if !t.elsewhere {
		s.fed(m, index)
	}
	return t
}

// transformedBy performs a transform. With raw Painless in it the engine has to
// do that.
func transformedBy(t releases.Transform, source json.RawMessage) transformed {
	if t.Opaque() {
		script, params := t.Painless()
		return transformed{source: source, script: script, params: params}
	}
	if t.Empty() {
		return transformed{source: source}
	}
	doc, err := releases.DecodeDoc(source)
	if err != nil {
		return transformed{kind: QuarantineRefused, reason: "not readable as JSON: " + err.Error()}
	}
	if err := t.Apply(doc); err != nil {
		if errors.Is(err, releases.ErrElsewhere) {
			return transformed{elsewhere: true}
		}
		if errors.Is(err, releases.ErrDropped) {
			return transformed{kind: QuarantineDropped, reason: err.Error()}
		}
		return transformed{kind: QuarantineRefused, reason: "transform: " + err.Error()}
	}
	out, err := releases.EncodeDoc(doc)
	if err != nil {
		return transformed{kind: QuarantineRefused, reason: "transform: " + err.Error()}
	}
	return transformed{source: out}
}

// face is what two documents are compared by: all they hold or, where only the
// engine knows what a document becomes, nothing but that it is there.
func (s *session) face(m *Move, source []byte) []byte {
	if s.l.transformOf(m).Opaque() {
		return []byte("{}")
	}
	return source
}

// put writes documents of a source into its target and accounts for each:
// written, or in quarantine. watchSiblings looks, in a merge, whether another
// source has the same id. It returns how many were written.
func (s *session) put(ctx context.Context, m *Move, c *Copy, docs []stream.Doc, watchSiblings bool) (int, error) {
	if watchSiblings && m.Method == MethodMerge {
		twins, err := s.twins(ctx, m, c, docs)
		if err != nil {
			return 0, err
		}
		if len(twins) > 0 {
			if err := s.settle(ctx, m, twins); err != nil {
				return 0, err
			}
			docs = slices.DeleteFunc(slices.Clone(docs), func(d stream.Doc) bool { return slices.Contains(twins, d.ID) })
		}
	}
	written, err := s.deliver(ctx, parcel{m, c, docs, !watchSiblings && !m.Kept})
	return written[c], err
}

// parcel is what goes from one source into one target.
type parcel struct {
	m    *Move
	c    *Copy
	docs []stream.Doc
	// first is of a first copy: what changes during it is copied again.
	first bool
}

// deliver writes documents of several sources in as few requests as they fit
// in, and returns how many of each source were written.
func (s *session) deliver(ctx context.Context, parcels ...parcel) (map[*Copy]int, error) {
	var ops []BulkOp
	var from []parcel // of every operation, with its one document
	var aside []Quarantined
	for _, p := range parcels {
		for i, d := range p.docs {
			t := s.transform(p.m, p.c.Source, d.Source)
			op := BulkOp{Index: p.m.Target, ID: d.ID, Routing: d.Routing, Source: t.source, Script: t.script, Params: t.params}
			if t.elsewhere && p.first {
				continue // no earlier state of it was copied
			}
			if t.elsewhere {
				op = BulkOp{Index: p.m.Target, ID: d.ID, Routing: d.Routing, Delete: true}
			}
			if t.kind != "" {
				aside = append(aside, s.quarantined(d, p.m.Target, t.kind, t.reason))
				// An earlier state of it may have been copied: it must not stay.
				op = BulkOp{Index: p.m.Target, ID: d.ID, Routing: d.Routing, Delete: true}
			}
			ops, from = append(ops, op), append(from, parcel{p.m, p.c, p.docs[i : i+1], p.first})
		}
	}
	refused, err := s.bulk(ctx, ops)
	if err != nil {
		return nil, err
	}
	clean := map[*Copy][]string{}
	var remove []BulkOp
	for i, p := range from {
		d := p.docs[0]
		switch res := refused[i]; {
		case res != nil:
			kind := QuarantineRefused
			if res.Dropped() {
				kind = QuarantineDropped
			}
			aside = append(aside, s.quarantined(d, p.m.Target, kind, res.Type+": "+res.Reason))
			remove = append(remove, BulkOp{Index: p.m.Target, ID: d.ID, Routing: d.Routing, Delete: true})
		case !ops[i].Delete:
			clean[p.c] = append(clean[p.c], d.ID)
		}
	}
	if len(remove) > 0 {
		if bad, err := s.bulk(ctx, remove); err != nil || len(bad) > 0 {
			return nil, errors.Join(err, refusedError(bad))
		}
	}
	if err := s.keepAside(ctx, aside...); err != nil {
		return nil, err
	}
	written := map[*Copy]int{}
	for c, ids := range clean {
		if err := s.takeBack(ctx, c.Source, ids...); err != nil {
			return nil, err
		}
		written[c] = len(ids)
	}
	return written, nil
}

func refusedError(bad map[int]*BulkResult) error {
	for _, r := range bad {
		return failf("the engine refused a deletion: %s: %s", r.Type, r.Reason)
	}
	return nil
}

// bulk performs operations in requests of bounded size, repeats those that
// the engine was too busy for, and returns those it refused by their position.
func (s *session) bulk(ctx context.Context, ops []BulkOp) (map[int]*BulkResult, error) {
	refused := map[int]*BulkResult{}
	for start := 0; start < len(ops); {
		end, size := start, 0
		for end < len(ops) && (end == start || size+len(ops[end].Source) <= bulkBytes) {
			size += len(ops[end].Source) + len(ops[end].Script) + 128
			end++
		}
		pending := make([]int, 0, end-start)
		for i := start; i < end; i++ {
			pending = append(pending, i)
		}
		if err := s.bulkPart(ctx, ops, pending, refused); err != nil {
			return nil, err
		}
		start = end
	}
	if len(refused) == 0 {
		return refused, nil
	}
	return s.bulkAgain(ctx, ops, refused)
}

// bulkAgain repeats refused operations once. Two documents that teach a
// dynamic object the same new field at the same moment, one with 5 and one
// with 5.5, refuse each other; once the field is known both are taken.
func (s *session) bulkAgain(ctx context.Context, ops []BulkOp, refused map[int]*BulkResult) (map[int]*BulkResult, error) {
	pending := slices.Sorted(maps.Keys(refused))
	still := map[int]*BulkResult{}
	if err := s.bulkPart(ctx, ops, pending, still); err != nil {
		return nil, err
	}
	return still, nil
}

func (s *session) bulkPart(ctx context.Context, ops []BulkOp, pending []int, refused map[int]*BulkResult) error {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 50*time.Millisecond, 2*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		part := make([]BulkOp, len(pending))
		for i, p := range pending {
			part[i] = ops[p]
		}
		results, err := s.engine.Bulk(ctx, part)
		if err != nil {
			var e *EngineError
			if errors.As(err, &e) && e.Retryable() && !e.Unanswered() {
				return struct{}{}, err
			}
			// Without an answer it may arrive behind what is written next: the
			// turn ends, and the next one fences it off first.
			return struct{}{}, backoff.Permanent(err)
		}
		if len(results) != len(part) {
			return struct{}{}, backoff.Permanent(fmt.Errorf("bulk: %d answers to %d operations", len(results), len(part)))
		}
		s.countWrites(part, results)
		var busy []int
		var last BulkResult
		for i, res := range results {
			switch {
			case res.OK:
			case res.Retryable():
				busy, last = append(busy, pending[i]), res
			case res.Type == "cluster_block_exception":
				// It concerns all documents, not one. A block of a former owner may
				// have arrived late: whoever goes on opens the index again.
				return struct{}{}, backoff.Permanent(fmt.Errorf("index %s: %s: %s", part[i].Index, res.Type, res.Reason))
			case res.Status == 403 || res.Status == 404:
				// Nor does a missing index.
				return struct{}{}, backoff.Permanent(failf("target %s: %s: %s", part[i].Index, res.Type, res.Reason))
			default:
				r := res
				refused[pending[i]] = &r
			}
		}
		if pending = busy; len(busy) > 0 {
			return struct{}{}, &EngineError{Op: "bulk", Status: last.Status, Type: last.Type, Reason: last.Reason}
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(policy), backoff.WithMaxTries(8), backoff.WithMaxElapsedTime(30*time.Second))
	return err
}
