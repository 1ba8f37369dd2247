package upgrader

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// moodyEngine refuses each document as often as its map says.
type moodyEngine struct {
	Engine
	refusals map[string]int
	busy     int
	calls    int
}

func (e *moodyEngine) Bulk(_ context.Context, ops []BulkOp) ([]BulkResult, error) {
	e.calls++
	out := make([]BulkResult, len(ops))
	for i, op := range ops {
		switch {
		case e.busy > 0:
			e.busy--
			out[i] = BulkResult{Status: 429, Type: "es_rejected_execution_exception", Reason: "queue is full"}
		case e.refusals[op.ID] > 0:
			e.refusals[op.ID]--
			out[i] = BulkResult{Status: 400, Type: "illegal_argument_exception", Reason: "mapper [n] cannot be changed from type [long] to [float]"}
		default:
			out[i] = BulkResult{OK: true, Status: 201}
		}
	}
	return out, nil
}

// A document is refused only when it is refused twice; a busy engine is asked
// again, and what it took is not sent again.
func TestBulkRefusals(t *testing.T) {
	t.Parallel()
	ops := []BulkOp{
		{Index: "i", ID: "good", Source: json.RawMessage(`{}`)},
		{Index: "i", ID: "race", Source: json.RawMessage(`{}`)},
		{Index: "i", ID: "bad", Source: json.RawMessage(`{}`)},
	}
	e := &moodyEngine{refusals: map[string]int{"race": 1, "bad": 99}, busy: 2}
	s := &session{engine: e, wrote: map[string]int64{}}
	refused, err := s.bulk(t.Context(), ops)
	require.NoError(t, err)
	require.Len(t, refused, 1)
	require.Contains(t, refused[2].Reason, "cannot be changed")
	require.Equal(t, 97, e.refusals["bad"])
	require.EqualValues(t, 2, s.wrote["i"], "what is refused takes no sequence number")
	require.Equal(t, 3, e.calls, "all, the busy ones, the refused ones")
}

// A block or a missing index is no fault of a document. A block may have arrived
// late, and is opened by the next turn; an index does not come back by itself.
func TestBulkIntoBlockedOrMissingTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer BulkResult
		want   Outcome
	}{
		{BulkResult{Status: 403, Type: "cluster_block_exception", Reason: "index [i] blocked by: [FORBIDDEN/8/index write (api)];"}, OutcomeRetry},
		{BulkResult{Status: 404, Type: "index_not_found_exception", Reason: "no such index [i]"}, OutcomeFail},
	} {
		s := &session{engine: answeringEngine{answer: c.answer}, wrote: map[string]int64{}}
		_, err := s.bulk(t.Context(), []BulkOp{{Index: "i", ID: "1", Source: json.RawMessage(`{}`)}})
		require.ErrorContains(t, err, c.answer.Reason)
		require.Equal(t, c.want, outcomeOf(err))
	}
}

type answeringEngine struct {
	Engine
	answer BulkResult
}

func (e answeringEngine) Bulk(context.Context, []BulkOp) ([]BulkResult, error) {
	return []BulkResult{e.answer}, nil
}
