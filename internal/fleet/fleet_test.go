package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// november is in the quarter of October, so that two months have one quarter.
var november = time.Date(2026, time.November, 15, 12, 0, 0, 0, time.UTC)

// bundle is what a test of this package works with.
type bundle struct {
	ctx    context.Context
	tenant *fleet.Tenant
	id     string
	url    string
}

func setup(t *testing.T, change func(*fleet.Config)) bundle {
	t.Helper()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	b := bundle{ctx: ctx, id: devtest.Prefix(t), url: devtest.Engine(t)}
	cfg := fleet.Config{
		URL: b.url, Catalogue: catalogue, Release: "0.8.1", Tenant: b.id, Seed: 42,
		Now: func() time.Time { return november },
	}
	if change != nil {
		change(&cfg)
	}
	b.tenant, err = fleet.New(cfg)
	require.NoError(t, err)
	require.NoError(t, b.tenant.Install(ctx))
	return b
}

// do sends one request of the test itself and returns the answer.
func (b bundle) do(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, content)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s %s: %s", method, path, answer)
	var out map[string]any
	require.NoError(t, json.Unmarshal(answer, &out), "%s", answer)
	return out
}

// aliases performs alias actions: pairs of index and alias.
func (b bundle) aliases(t *testing.T, remove, add [][2]string) {
	t.Helper()
	var actions []any
	for _, a := range remove {
		actions = append(actions, map[string]any{"remove": map[string]string{"index": a[0], "alias": a[1]}})
	}
	for _, a := range add {
		actions = append(actions, map[string]any{"add": map[string]string{"index": a[0], "alias": a[1]}})
	}
	b.do(t, http.MethodPost, "/_aliases", map[string]any{"actions": actions})
}

func (b bundle) judge(t *testing.T, e fleet.Expect) *fleet.Report {
	t.Helper()
	report, err := b.tenant.Judge(b.ctx, e)
	require.NoError(t, err)
	return report
}

func TestCompleteLayoutOfEveryRelease(t *testing.T) {
	t.Parallel()
	// Totals of a fresh tenant, as Tracardi's own installer leaves them.
	for _, row := range []struct {
		release                       string
		indices, primaries, templates int
	}{
		{"0.8.0", 68, 84, 10},
		{"0.8.1", 72, 88, 12},
		{"0.8.2", 76, 104, 20},
	} {
		t.Run(row.release, func(t *testing.T) {
			b := setup(t, func(c *fleet.Config) { c.Release = row.release })
			require.NoError(t, b.tenant.Fill(b.ctx, 1000), "the strict mappings take every generated document")
			awkward, err := b.tenant.Awkward(b.ctx, false)
			require.NoError(t, err)
			report := b.judge(t, fleet.Expect{Release: row.release})
			require.True(t, report.OK(), "%s", report)
			require.Equal(t, 1000+awkward.Written, report.Documents)
			require.Equal(t, row.indices, report.Indices)
			require.Equal(t, row.indices, report.Aliases)

			settings := b.do(t, http.MethodGet, "/*."+b.id+".*/_settings/index.number_of_shards?flat_settings", nil)
			primaries := 0
			for _, s := range settings {
				shards := s.(map[string]any)["settings"].(map[string]any)["index.number_of_shards"].(string)
				primaries += int(shards[0] - '0')
			}
			require.Equal(t, row.primaries, primaries)
			templates := b.do(t, http.MethodGet, "/_index_template/*template.*."+b.id+".*", nil)
			require.Len(t, templates["index_templates"], row.templates)

			require.NoError(t, b.tenant.Remove(b.ctx))
			require.Empty(t, b.do(t, http.MethodGet, "/*."+b.id+".*/_alias", nil))
		})
	}
}

func TestAwkwardDocumentsAcrossMonths(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) {
		c.Months = 4
		c.Only = []string{"profile", "event", "rule", "session", "flow"}
	})
	require.NoError(t, b.tenant.Fill(b.ctx, 400))
	awkward, err := b.tenant.Awkward(b.ctx, true)
	require.NoError(t, err)
	require.Equal(t, 3, awkward.Quarantine)
	report := b.judge(t, fleet.Expect{Release: "0.8.1"})
	require.True(t, report.OK(), "%s", report)
	require.Equal(t, 400+awkward.Written, report.Documents)
	require.Equal(t, 2*(3*4+2), report.Indices, "four months of three resources, two plain ones, two modes")
}

func TestHistoryOfAWriterEqualsTheEngine(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) { c.Only = []string{"profile", "event", "rule"} })
	require.NoError(t, b.tenant.Fill(b.ctx, 200))
	w := b.tenant.StartWriter(b.ctx, fleet.WriterConfig{Bulk: 20, Seed: 1})
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Acknowledged > 300 }))
	require.NoError(t, w.Pause(b.ctx))
	paused := b.judge(t, fleet.Expect{Release: "0.8.1"})
	require.True(t, paused.OK(), "%s", paused)
	w.Resume()
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Deleted > 50 && s.Updated > 100 }))
	require.NoError(t, w.Stop())

	stats := w.Stats()
	require.Zero(t, stats.Invalid, stats.LastInvalid)
	require.Zero(t, stats.Refused)
	require.Positive(t, stats.LongestGap)
	require.Equal(t, stats.Acknowledged, stats.Inserted+stats.Updated+stats.Deleted)
	report := b.judge(t, fleet.Expect{Release: "0.8.1"})
	require.True(t, report.OK(), "%s", report)
	require.EqualValues(t, 200+stats.Inserted-stats.Deleted, report.Documents)
	require.EqualValues(t, stats.Deleted, report.Deleted)
}

// lossy executes requests and now and then loses the answer.
type lossy struct{ every, count int }

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	write := strings.Contains(r.URL.Path, "/_doc/") || strings.HasSuffix(r.URL.Path, "/_bulk")
	if write {
		l.count++
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && write && l.every > 0 && l.count%l.every == 0 {
		resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

func TestLostAnswersMakeWritesUncertain(t *testing.T) {
	t.Parallel()
	line := &lossy{}
	b := setup(t, func(c *fleet.Config) {
		c.Only = []string{"profile", "rule"}
		c.Client = &http.Client{Transport: line}
	})
	require.NoError(t, b.tenant.Fill(b.ctx, 50))
	line.every = 5
	w := b.tenant.StartWriter(b.ctx, fleet.WriterConfig{Bulk: 4})
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Uncertain > 10 }))
	require.NoError(t, w.Stop())
	line.every = 0
	report := b.judge(t, fleet.Expect{Release: "0.8.1"})
	require.True(t, report.OK(), "%s", report)
	require.EqualValues(t, w.Stats().Uncertain, report.Uncertain)
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) { c.Only = []string{"rule"} })
	start := time.Now()
	w := b.tenant.StartWriter(b.ctx, fleet.WriterConfig{Rate: 100})
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Acknowledged > 30 }))
	require.NoError(t, w.Stop())
	require.Greater(t, time.Since(start), 290*time.Millisecond, "31 operations at 100 a second")
}

func escape(id string) string { return url.PathEscape(id) }
