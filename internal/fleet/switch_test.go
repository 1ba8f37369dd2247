package fleet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
)

// upgradeByHand is the simplest upgrade there is, for resources without a
// transform: block, copy, switch. It shows that writer, watcher and judge
// follow; it proves nothing about TMS.
type upgradeByHand struct {
	bundle
	sources []string // indices of 0.8.1
	targets []string
	remove  [][2]string // index and alias
	add     [][2]string
}

func prepare(t *testing.T, b bundle) *upgradeByHand {
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	next, err := catalogue.Get("0.8.2")
	require.NoError(t, err)
	u := &upgradeByHand{bundle: b}
	for _, mode := range []string{"", "prod-"} {
		for _, res := range next.Resources {
			source, target := "tracardi-"+res.Key, res.Base
			switch res.Key {
			case "session":
				source, target = source+"-2026-11", target+"-2026-q4"
			case "log":
				source, target = source+"-2026-11", target+"-2026-11"
			case "segment":
			default:
				continue
			}
			from, to, alias := mode+"08x."+b.id+"."+source, mode+"0820."+b.id+"."+target, mode+b.id+"."+res.Base
			settings := map[string]any{"index": res.Settings, "number_of_replicas": 0}
			b.do(t, http.MethodPut, "/"+to, map[string]any{"settings": settings, "mappings": res.Mapping})
			if res.Partitioning != releases.Unpartitioned {
				b.do(t, http.MethodPut, "/_index_template/"+mode+"template.0820."+b.id+"."+res.Base, map[string]any{
					"index_patterns": []string{mode + "0820." + b.id + "." + res.Base + "-*-*"},
					"template":       map[string]any{"settings": settings, "mappings": res.Mapping, "aliases": map[string]any{alias: struct{}{}}},
				})
			}
			u.sources, u.targets = append(u.sources, from), append(u.targets, to)
			u.remove, u.add = append(u.remove, [2]string{from, alias}), append(u.add, [2]string{to, alias})
		}
	}
	return u
}

func (u *upgradeByHand) copyAll(t *testing.T) {
	for i, source := range u.sources {
		u.do(t, http.MethodPut, "/"+source+"/_block/write", nil)
		u.do(t, http.MethodPost, "/"+source+"/_refresh", nil)
		hits := u.do(t, http.MethodGet, "/"+source+"/_search?size=10000", nil)["hits"].(map[string]any)["hits"].([]any)
		var b bytes.Buffer
		for _, h := range hits {
			hit := h.(map[string]any)
			raw, err := json.Marshal(hit["_source"])
			require.NoError(t, err)
			fmt.Fprintf(&b, "{\"index\":{\"_id\":%q}}\n%s\n", hit["_id"], raw)
		}
		if b.Len() > 0 {
			resp, err := http.Post(u.url+"/"+u.targets[i]+"/_bulk?refresh=true", "application/x-ndjson", strings.NewReader(b.String()))
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, http.StatusOK, resp.StatusCode)
		}
	}
}

func (u *upgradeByHand) unblock(t *testing.T, indices []string) {
	for _, index := range indices {
		u.do(t, http.MethodPut, "/"+index+"/_settings", map[string]any{"index.blocks.write": nil})
	}
}

func TestWriterFollowsASwitchAndARollback(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) { c.Only = []string{"session", "log", "segment"} })
	require.NoError(t, b.tenant.Fill(b.ctx, 200))
	u := prepare(t, b)
	watcher := b.tenant.Watch(b.ctx)
	w := b.tenant.StartWriter(b.ctx, fleet.WriterConfig{Bulk: 5, Rate: 400})
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Acknowledged > 50 }))

	u.copyAll(t)
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Refused > 0 }))
	b.aliases(t, u.remove, u.add)
	before := w.Stats()
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool {
		return s.Release == "0.8.2" && s.Updated > before.Updated+20 && s.Deleted > before.Deleted+5
	}))
	require.NoError(t, w.Pause(b.ctx))
	report := b.judge(t, fleet.Expect{Release: "0.8.2"})
	require.True(t, report.OK(), "%s", report)
	stats := w.Stats()
	require.Zero(t, stats.Invalid, stats.LastInvalid)
	require.EqualValues(t, 200+stats.Inserted-stats.Deleted, report.Documents)
	require.Positive(t, stats.LongestGap)
	w.Resume()

	for _, target := range u.targets {
		u.do(t, http.MethodPut, "/"+target+"/_block/write", nil)
	}
	u.unblock(t, u.sources)
	b.aliases(t, u.add, u.remove)
	before = w.Stats()
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool {
		return s.Release == "0.8.1" && s.Acknowledged > before.Acknowledged+50
	}))
	require.NoError(t, w.Stop())
	// Nothing was carried back: the judge misses what was written meanwhile,
	// and finds what was deleted.
	back := b.judge(t, fleet.Expect{Release: "0.8.1"})
	faults := map[fleet.Fault]int{}
	for _, d := range back.Discrepancies {
		faults[d.Fault]++
	}
	require.Positive(t, faults[fleet.Missing], "%s", back)
	require.Positive(t, faults[fleet.Stale], "%s", back)
	require.Positive(t, faults[fleet.Resurrected], "%s", back)
	require.Equal(t, 2, w.Stats().Switches)

	seen := watcher.Stop()
	require.Zero(t, seen.Found, "%v", seen.Discrepancies)
	require.Equal(t, []string{"08x", "0820", "08x"}, seen.Releases)
}

func TestJudgeFindsWhatWasWrittenPastTheCopy(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) { c.Only = []string{"session", "log", "segment"} })
	require.NoError(t, b.tenant.Fill(b.ctx, 100))
	u := prepare(t, b)
	u.copyAll(t)
	u.unblock(t, u.sources) // the fence opens too early
	w := b.tenant.StartWriter(b.ctx, fleet.WriterConfig{})
	require.NoError(t, w.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Inserted > 5 && s.Updated > 5 && s.Deleted > 5 }))
	require.NoError(t, w.Stop())
	b.aliases(t, u.remove, u.add)
	report := b.judge(t, fleet.Expect{Release: "0.8.2"})
	faults := map[fleet.Fault]int{}
	for _, d := range report.Discrepancies {
		faults[d.Fault]++
	}
	require.Positive(t, faults[fleet.Missing], "%s", report)
	require.Positive(t, faults[fleet.Stale], "%s", report)
	require.Positive(t, faults[fleet.Resurrected], "%s", report)
}

func TestWatcherSeesAliasesOnTwoVersionsAndNone(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *fleet.Config) { c.Only = []string{"session", "log", "segment"} })
	u := prepare(t, b)
	watcher := b.tenant.Watch(b.ctx)
	require.NoError(t, watcher.Wait(b.ctx, 1))
	b.aliases(t, nil, u.add[:1])
	require.NoError(t, watcher.Wait(b.ctx, 2))
	b.aliases(t, append(u.remove[:1:1], u.add[0]), nil)
	require.NoError(t, watcher.Wait(b.ctx, 2))
	seen := watcher.Stop()
	require.GreaterOrEqual(t, seen.Found, 2)
	require.Contains(t, fmt.Sprint(seen.Discrepancies), "points to 2 versions at once")
	require.Contains(t, fmt.Sprint(seen.Discrepancies), "points to nothing")
}
