package elastic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// slowScript keeps a shard busy for seconds, in front of whoever wants it quiet.
const slowScript = `List l = new ArrayList(); for (int i = 0; i < 20000; i++) { l.add(i) } for (int i = 0; i < 6000; i++) { Collections.shuffle(l, new Random(i)) } ctx._source.n = l.get(0)`

// testUnfinishedBlock gives up on a block while a write is under way. The engine
// then has half of it, which the setting does not take away.
func testUnfinishedBlock(b *bench) {
	index := b.create("slow", 1, nil)
	b.fill(index, 1)
	written := make(chan error, 1)
	go func() {
		body := fmt.Sprintf("{\"update\":{\"_index\":%q,\"_id\":\"0\"}}\n{\"script\":{\"source\":%q}}\n", index, slowScript)
		written <- b.raw(http.MethodPost, "/_bulk", body, `"errors":false`)
	}()
	b.eventually("the write is under way", func() bool {
		return b.raw(http.MethodGet, "/_tasks?detailed&actions=indices:data/write/bulk*", "", index) == nil
	})

	ctx, cancel := context.WithTimeout(b.ctx, 500*time.Millisecond)
	defer cancel()
	_, err := b.BlockWrites(ctx, index)
	require.Error(b.t, err, "the shard drained too early for this test")
	require.NoError(b.t, b.UnblockWrites(b.ctx, index))

	require.NoError(b.t, <-written)
	b.bulk(upgrader.BulkOp{Index: index, ID: "1", Source: []byte(`{"n":1}`)})
	list, err := b.Indices(b.ctx, index)
	require.NoError(b.t, err)
	require.False(b.t, list[0].WriteBlocked)
}

// raw asks the engine past the client; the answer must contain want.
func (b *bench) raw(method, path, body, want string) error {
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && !strings.Contains(string(answer), want) {
		err = fmt.Errorf("%s %s: %.300s", method, path, answer)
	}
	return err
}
