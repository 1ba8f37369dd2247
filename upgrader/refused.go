package upgrader

import (
	"context"
	"maps"
	"slices"
)

// maxRefusals bounds how often a copy task is started again because documents
// were refused in passing. New fields show early in a copy, so that little is
// done twice.
const maxRefusals = 3

// taskRefused decides how a copy goes on whose task met a document that the
// target refused. The engine's task is several times as fast as anybody else and
// is started again where that was in passing: most are, see bulkAgain. Else the
// copy goes on document by document.
func (s *session) taskRefused(ctx context.Context, m *Move, c *Copy, t ReindexTask) error {
	next := CopyStreaming
	if t.Err == "" && c.Refusals < maxRefusals {
		gone, err := s.inPassing(ctx, m, c, t.Failures)
		if err != nil {
			return err
		}
		if gone {
			next = CopyPlanned
		}
	}
	s.log.Warn("documents refused a copy task", "source", c.Source, "error", t.Err, "failures", len(t.Failures), "first", firstRefusal(t.Failures),
		"copied", t.Created+t.Updated, "goes_on", map[CopyState]string{CopyPlanned: "from the start", CopyStreaming: "document by document"}[next])
	s.update(func() { c.State, c.Task, c.Copied, c.Refusals = next, "", 0, c.Refusals+1 })
	return nil
}

// inPassing puts refused documents by themselves, and says whether all of them
// are taken now.
func (s *session) inPassing(ctx context.Context, m *Move, c *Copy, failures []DocFailure) (bool, error) {
	ids := map[string]bool{}
	for _, f := range failures {
		ids[f.ID] = true
	}
	docs, err := s.engine.Get(ctx, c.Source, slices.Sorted(maps.Keys(ids)))
	if err != nil || len(docs) < len(ids) {
		return false, err
	}
	n, err := s.put(ctx, m, c, slices.Collect(maps.Values(docs)), false)
	return n == len(ids), err
}

// firstRefusal is the kind of the first refusal. Its reason may hold what stands
// in the document, which belongs into no log.
func firstRefusal(failures []DocFailure) string {
	if len(failures) == 0 {
		return ""
	}
	return failures[0].Type
}
