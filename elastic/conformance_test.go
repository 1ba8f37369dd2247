package elastic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/upgrader"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// testDeadline bounds every test of one engine; none should come near it.
const testDeadline = 2 * time.Minute

// bench is one test's own corner of a real engine.
type bench struct {
	*elastic.Client
	t      *testing.T
	ctx    context.Context
	kind   devstack.EngineKind
	url    string
	prefix string // of every name that the test uses
}

// conformance is what every engine must do alike. Each case runs in parallel
// under a prefix of its own.
var conformance = []struct {
	name string
	run  func(*bench)
}{
	{"info", testInfo},
	{"shard budget", testShards},
	{"capability table tells the truth", testCapabilities},
	{"index comes back as created", testIndexRoundTrip},
	{"index exists already", testIndexExists},
	{"shard limit is refused in the engine's words", testShardLimit},
	{"delete takes exact names only", testDelete},
	{"settings of exact names", testSettings},
	{"clone of what refuses writes", testClone},
	{"more names than a request line holds", testManyNames},
	{"nothing found is empty", testNothingFound},
	{"flattened is translated or refused in words", testFlattened},
	{"template comes back as put", testTemplates},
	{"alias swap is atomic", testAliasSwap},
	{"alias actions may be repeated", testAliasRepeat},
	{"write block stops twelve writers", testWriteBlock},
	{"write block by pattern and back", testBlockNames},
	{"write block that is not whole is lifted", testUnfinishedBlock},
	{"quiet is waited for, not for ever", testAwaitQuiet},
	{"documents come back byte for byte", testDocumentBytes},
	{"pages of a shard", testPages},
	{"all documents of several indices", testFetch},
	{"documents per stretch of sequence numbers", testSeqNoCounts},
	{"stats carry sequence numbers", testStats},
	{"unassigned shards are no silent zero", testUnassigned},
	{"counts", testCount},
	{"ids in several indices", testFindIDs},
	{"bulk answers per document", testBulk},
	{"copy with slices and script", testReindex},
	{"copy with refused document", testReindexRefused},
	{"copy with script that does not compile", testReindexBadScript},
	{"copy is adopted by opaque id and cancelled", testReindexAdopt},
	{"running slices are summed", testReindexSlices},
	{"pace of a running copy", testRethrottle},
	{"vitals of a cluster", testVitals},
	{"task that is not there", testUnknownTask},
	{"scripts are compiled", testCheckScript},
	{"mapping and settings are tried", testCheckIndex},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, kind := range devstack.EngineKinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for _, c := range conformance {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newBench(t, kind))
				})
			}
		})
	}
}

func newBench(t *testing.T, kind devstack.EngineKind) *bench {
	t.Helper()
	url := devtest.EngineOf(t, kind)
	ctx, cancel := context.WithTimeout(t.Context(), testDeadline)
	t.Cleanup(cancel)
	c, err := elastic.New(ctx, elastic.Config{URLs: []string{url}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &bench{Client: c, t: t, ctx: ctx, kind: kind, url: url, prefix: devtest.Prefix(t)}
}

// create makes an index without replicas and returns its name.
func (b *bench) create(name string, shards int, mapping map[string]any) string {
	b.t.Helper()
	name = b.prefix + "." + name
	require.NoError(b.t, b.CreateIndex(b.ctx, name, upgrader.IndexBody{
		Settings: map[string]any{"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"},
		Mappings: mapping,
	}))
	return name
}

// started waits until the primaries of an index are active. What is written
// to waits by itself; what is only read does not.
func (b *bench) started(index string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		stats, err := b.Stats(ctx, index)
		require.NoError(b.t, err)
		if s := stats[index]; s.Primaries > 0 && len(s.Checkpoints) == s.Primaries {
			return index
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s never started", index)
		case <-tick.C:
		}
	}
}

// fill writes documents "0" to n-1 of the form {"n":i} and refreshes.
func (b *bench) fill(index string, n int) {
	b.t.Helper()
	ops := make([]upgrader.BulkOp, n)
	for i := range ops {
		ops[i] = upgrader.BulkOp{Index: index, ID: fmt.Sprint(i), Source: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	b.bulk(ops...)
	require.NoError(b.t, b.Refresh(b.ctx, index))
}

// bulk writes documents all of which must be taken.
func (b *bench) bulk(ops ...upgrader.BulkOp) {
	b.t.Helper()
	results, err := b.Bulk(b.ctx, ops)
	require.NoError(b.t, err)
	require.Len(b.t, results, len(ops))
	for i, r := range results {
		require.True(b.t, r.OK, "operation %d: %+v", i, r)
	}
}

func (b *bench) count(index string) int64 {
	b.t.Helper()
	n, err := b.Count(b.ctx, index)
	require.NoError(b.t, err)
	require.Contains(b.t, n, index)
	return n[index]
}

// eventually asks again until done, or fails at the deadline.
func (b *bench) eventually(what string, done func() bool) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// finished waits for the end of a copy task.
func (b *bench) finished(task string) upgrader.ReindexTask {
	b.t.Helper()
	var r upgrader.ReindexTask
	b.eventually("end of task "+task, func() bool {
		var err error
		r, err = b.ReindexTask(b.ctx, task)
		require.NoError(b.t, err)
		return r.Completed
	})
	return r
}

func engineError(t *testing.T, err error) *upgrader.EngineError {
	t.Helper()
	var e *upgrader.EngineError
	require.ErrorAs(t, err, &e)
	return e
}

func object(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(s), &m))
	return m
}
