package upgrader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// taskCounter counts the copy tasks that an engine is asked for.
type taskCounter struct {
	upgrader.Engine
	tasks atomic.Int64
}

func (e *taskCounter) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	e.tasks.Add(1)
	return e.Engine.StartReindex(ctx, r)
}

// yearOfDiaries fills the months of a year with entries that tell of their
// month; the first of each month tells of the month before.
func (b *bundle) yearOfDiaries(each int) *crowd {
	var months []string
	for m := 1; m <= 12; m++ {
		months = append(months, fmt.Sprintf("2023-%d", m))
	}
	c := b.crowdOf(diaries, months...)
	for i, month := range months {
		ops := make([]upgrader.BulkOp, each)
		for n := range ops {
			day := time.Date(2023, time.Month(i+1), 1+n%27, 0, 0, 0, 0, time.UTC)
			if n == 0 {
				day = day.AddDate(0, -1, 0)
			}
			ops[n] = upgrader.BulkOp{Index: "010." + c.id + ".x-person-" + month, ID: fmt.Sprintf("%s-%d", month, n), Source: json.RawMessage(fmt.Sprintf(`{"at":%q,"text":"x"}`, day.Format(time.DateOnly)))}
		}
		b.bulk(ops...)
	}
	return c
}

// Where documents go by their dates, a source is copied into the partitions that
// it reaches, not into all of them.
func TestSourcesFeedWhatTheyReach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.yearOfDiaries(120)
	engine := &taskCounter{Engine: b.engine}
	b.queue(upgrader.NewRunner(b.store, engine, b.catalogue, "worker-"+t.Name(), upgrader.Limits{StreamDocs: 100}, b.log))
	r, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "1.1", Options: upgrader.Options{Tenants: []string{c.id}}, Caller: "test"})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	// Twelve into their own months, eleven into the month before.
	require.Equal(t, int64(23), engine.tasks.Load())
	for m := 1; m <= 12; m++ {
		want := 120
		switch m {
		case 1:
			want = 121 // its own late one has no partition, and February's comes
		case 12:
			want = 119
		}
		require.Len(t, c.holds(fmt.Sprintf("011.%s.x-person-2023-%d", c.id, m)), want, m)
	}
}

// A rehearsal files documents by their dates as the upgrade does, all of them and
// a sample, and nothing of it stays.
func TestRehearsalOfARouteByDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.yearOfDiaries(150)
	odd := upgrader.BulkOp{Index: "010." + c.id + ".x-person-2023-3", ID: "odd", Source: json.RawMessage(`{"at":"soon","text":"x"}`)}
	b.bulk(odd)
	_, rehearser := b.rehearsing()
	run := func(sample int) *upgrader.Rehearsal {
		one, err := b.service.Rehearse(t.Context(), upgrader.RehearsalRequest{TenantID: c.id, ToRelease: "1.1", Sample: sample, Caller: "test"})
		require.NoError(t, err)
		require.NoError(t, rehearser.Work(t.Context(), one.ID))
		one, err = b.service.Rehearsal(t.Context(), one.ID)
		require.NoError(t, err)
		require.Equal(t, upgrader.RehearsalSucceeded, one.State, one.Reason)
		require.Equal(t, upgrader.VerdictEqual, one.Report.Verdict, "%v", one.Report.Problems)
		require.Empty(t, one.Report.Findings)
		require.Empty(t, b.made(one.ID))
		return one
	}
	whole := run(0)
	require.Equal(t, int64(12*150+1), whole.Report.Total)
	require.Equal(t, whole.Report.Total, whole.Report.Documents, "each is copied once")
	part := run(40)
	require.Equal(t, whole.Report.Total, part.Report.Total)
	require.InDelta(t, 12*40, part.Report.Documents, 24, "a sample of each month")
	require.NotContains(t, fmt.Sprint(b.names("011."+c.id+".*")), "x-person", "nothing of the new version stands")
}
