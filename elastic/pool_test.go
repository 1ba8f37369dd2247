package elastic_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/upgrader"
)

// A client is kept while its access is the same, made anew when that changes,
// and gone with its cluster; the default one is always there.
func TestPool(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	home, err := elastic.New(ctx, elastic.Config{URLs: []string{"http://home:9200"}})
	require.NoError(t, err)
	var revision int64 = 1
	var fail error
	pool := elastic.NewPool(home, func(_ context.Context, name string) (elastic.Config, int64, error) {
		if name == "none" {
			return elastic.Config{}, 0, elastic.ErrUnknownCluster
		}
		return elastic.Config{URLs: []string{"http://" + name + ":9200"}}, revision, fail
	})
	t.Cleanup(pool.Close)
	for _, name := range []string{"", upgrader.DefaultCluster} {
		e, err := pool.For(ctx, name)
		require.NoError(t, err)
		require.Same(t, home, e)
	}
	_, err = pool.For(ctx, "none")
	require.ErrorIs(t, err, elastic.ErrUnknownCluster)

	first, err := pool.Client(ctx, "eu")
	require.NoError(t, err)
	again, err := pool.Client(ctx, "eu")
	require.NoError(t, err)
	require.Same(t, first, again)

	pool.Expire()
	fail = errors.New("no database")
	again, err = pool.Client(ctx, "eu")
	require.NoError(t, err, "a client that is known is used on")
	require.Same(t, first, again)
	_, err = pool.Client(ctx, "us")
	require.ErrorIs(t, err, fail)

	revision, fail = 2, nil
	other, err := pool.Client(ctx, "eu")
	require.NoError(t, err)
	require.NotSame(t, first, other)
}

// A fingerprint is trusted when it is the server's own certificate's, and no
// other authority is.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(server.Certificate().Raw)
	right := hex.EncodeToString(sum[:])
	wrong := hex.EncodeToString(make([]byte, sha256.Size))
	for name, c := range map[string]struct {
		fingerprint, want string
	}{
		"right":           {right, ""},
		"another":         {wrong, "no certificate with the fingerprint"},
		"system's choice": {"", "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := elastic.New(t.Context(), elastic.Config{URLs: []string{server.URL}, Fingerprint: c.fingerprint})
			require.NoError(t, err)
			t.Cleanup(client.Close)
			err = client.Ping(t.Context())
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := elastic.New(t.Context(), elastic.Config{URLs: []string{server.URL}, Fingerprint: "7a1c"})
	require.ErrorContains(t, err, "want 64 hexadecimal digits")
}
