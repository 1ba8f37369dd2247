package fleet

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/releases"
)

// The engine copies with the bundles' own scripts, and the judge, who has the
// transforms in Go and the laws by heart, must find nothing.
func TestEnginesOwnCopyPassesTheJudge(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	for _, row := range []struct{ from, to string }{{"0.8.0", "0.8.1"}, {"0.8.1", "0.8.2"}} {
		t.Run(row.from+" to "+row.to, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			tenant, err := New(Config{
				URL: devtest.Engine(t), Catalogue: catalogue, Release: row.from, Tenant: devtest.Prefix(t), Seed: 3, Months: 2,
				Now:  func() time.Time { return time.Date(2026, time.November, 15, 0, 0, 0, 0, time.UTC) },
				Only: []string{"profile", "event", "session", "entity", "rule", "event-to-profile", "event-management", "event-reshaping"},
			})
			require.NoError(t, err)
			require.NoError(t, tenant.Install(ctx))
			require.NoError(t, tenant.Fill(ctx, 600))
			awkward, err := tenant.Awkward(ctx, false)
			require.NoError(t, err)
			copyEverything(ctx, t, tenant, row.to)

			report, err := tenant.Judge(ctx, Expect{Release: row.to})
			require.NoError(t, err)
			require.True(t, report.OK(), "%s", report)
			require.Equal(t, 600+awkward.Written, report.Documents)
		})
	}
}

// copyEverything installs the target beside the source, lets the engine copy,
// and takes the aliases off the source.
func copyEverything(ctx context.Context, t *testing.T, tenant *Tenant, to string) {
	t.Helper()
	require.NoError(t, tenant.engine.refresh(ctx, tenant.aliasPatterns()...))
	require.NoError(t, tenant.InstallRelease(ctx, to))
	rt, err := tenant.route(tenant.release.Version, to)
	require.NoError(t, err)
	target := rt.path[len(rt.path)-1]
	resources, err := tenant.resources(tenant.release)
	require.NoError(t, err)
	var remove []any
	for _, s := range slots(resources) {
		for _, label := range tenant.partitions(s.res.Partitioning) {
			source := indexName(s.mode, tenant.release.Prefix, tenant.named(tenant.release.Prefix), s.res.Base, label)
			l, ok := rt.walk(s.res.Key, label)
			require.True(t, ok)
			if !l.known {
				l.label = partition(l.res.Partitioning, tenant.cfg.Now())
			}
			body := map[string]any{
				"source": map[string]any{"index": source},
				"dest":   map[string]any{"index": indexName(s.mode, target.Prefix, tenant.named(target.Prefix), l.res.Base, l.label)},
			}
			if script, params := l.transforms[0].Painless(); script != "" {
				body["script"] = map[string]any{"lang": "painless", "source": script, "params": params}
			}
			var out struct {
				Failures []any `json:"failures"`
			}
			_, err := tenant.engine.call(ctx, http.MethodPost, "/_reindex", body, &out)
			if err != nil {
				// Documents on two shards that teach a dynamic object the same
				// field at once, 5 and 5.5, refuse each other; not twice.
				_, err = tenant.engine.call(ctx, http.MethodPost, "/_reindex", body, &out)
			}
			require.NoError(t, err)
			require.Empty(t, out.Failures)
			remove = append(remove, map[string]any{"remove": map[string]string{"index": source, "alias": aliasName(s.mode, tenant.named(tenant.release.Prefix), s.res.Base)}})
		}
	}
	_, err = tenant.engine.call(ctx, http.MethodPost, "/_aliases", map[string]any{"actions": remove}, nil)
	require.NoError(t, err)
}
