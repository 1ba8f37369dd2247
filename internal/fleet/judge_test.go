package fleet_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
)

// planted is a tenant with known documents, for one fault.
type planted struct {
	bundle
	index, alias string // production profiles of November
	older        string // of October
	ids          []string
}

// doc is the path of the n-th profile.
func (p planted) doc(n int) string {
	return "/" + p.index + "/_doc/" + escape(p.ids[n]) + "?refresh=true"
}

func (p planted) source(t *testing.T, n int) map[string]any {
	return p.do(t, http.MethodGet, "/"+p.index+"/_doc/"+escape(p.ids[n]), nil)["_source"].(map[string]any)
}

func plant(t *testing.T) planted {
	b := setup(t, func(c *fleet.Config) { c.Only, c.Months = []string{"profile", "rule"}, 2 })
	require.NoError(t, b.tenant.Fill(b.ctx, 60))
	p := planted{
		bundle: b,
		index:  "prod-08x." + b.id + ".tracardi-profile-2026-11",
		older:  "prod-08x." + b.id + ".tracardi-profile-2026-10",
		alias:  "prod-" + b.id + ".tracardi-profile",
	}
	b.do(t, http.MethodPost, "/"+p.index+"/_refresh", nil)
	hits := b.do(t, http.MethodGet, "/"+p.index+"/_search?size=50&_source=false", nil)["hits"].(map[string]any)["hits"].([]any)
	for _, h := range hits {
		p.ids = append(p.ids, h.(map[string]any)["_id"].(string))
	}
	require.NotEmpty(t, p.ids)
	return p
}

func TestJudgeFindsPlantedFaults(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		fault fleet.Fault
		plant func(*testing.T, planted)
	}{
		{"document lost", fleet.Missing, func(t *testing.T, p planted) {
			p.do(t, http.MethodDelete, p.doc(0), nil)
		}},
		{"update lost", fleet.Stale, func(t *testing.T, p planted) {
			doc := p.source(t, 0)
			doc["active"] = false
			p.do(t, http.MethodPut, p.doc(0), doc)
		}},
		{"field lost", fleet.Stale, func(t *testing.T, p planted) {
			doc := p.source(t, 0)
			delete(doc, "consents")
			p.do(t, http.MethodPut, p.doc(0), doc)
		}},
		{"deleted document back", fleet.Resurrected, func(t *testing.T, p planted) {
			doc := p.source(t, 0)
			w := p.tenant.StartWriter(p.ctx, fleet.WriterConfig{Deletes: 1})
			require.NoError(t, w.Wait(p.ctx, func(s fleet.WriterStats) bool { return s.Deleted >= 60 }))
			require.NoError(t, w.Stop())
			p.do(t, http.MethodPut, p.doc(0), doc)
		}},
		{"document twice under the alias", fleet.Duplicate, func(t *testing.T, p planted) {
			p.do(t, http.MethodPut, "/"+p.older+"/_doc/"+escape(p.ids[0])+"?refresh=true", p.source(t, 0))
		}},
		{"document in the wrong partition", fleet.Misplaced, func(t *testing.T, p planted) {
			doc := p.source(t, 0)
			p.do(t, http.MethodDelete, p.doc(0), nil)
			p.do(t, http.MethodPut, "/"+p.older+"/_doc/"+escape(p.ids[0])+"?refresh=true", doc)
		}},
		{"document nobody wrote", fleet.Stray, func(t *testing.T, p planted) {
			p.do(t, http.MethodPut, "/"+p.index+"/_doc/stranger?refresh=true", p.source(t, 0))
		}},
		{"alias on two versions", fleet.Alias, func(t *testing.T, p planted) {
			next := "prod-0820." + p.id + ".tracardi-profile-2026-q4"
			p.do(t, http.MethodPut, "/"+next, nil)
			p.aliases(t, nil, [][2]string{{next, p.alias}})
		}},
		{"alias gone", fleet.Alias, func(t *testing.T, p planted) {
			alias := p.id + ".tracardi-rule"
			p.aliases(t, [][2]string{{"08x." + p.id + ".tracardi-rule", alias}}, nil)
		}},
		{"partition without its alias", fleet.Index, func(t *testing.T, p planted) {
			p.aliases(t, [][2]string{{p.older, p.alias}}, nil)
		}},
		{"mapping with a foreign field", fleet.Mapping, func(t *testing.T, p planted) {
			p.do(t, http.MethodPut, "/"+p.index+"/_mapping", map[string]any{"properties": map[string]any{"foreign": map[string]any{"type": "keyword"}}})
		}},
		{"refresh still off", fleet.Settings, func(t *testing.T, p planted) {
			p.do(t, http.MethodPut, "/"+p.index+"/_settings", map[string]any{"index": map[string]any{"refresh_interval": "-1"}})
		}},
		{"write block left behind", fleet.Settings, func(t *testing.T, p planted) {
			p.do(t, http.MethodPut, "/"+p.index+"/_block/write", nil)
		}},
		{"template gone", fleet.Template, func(t *testing.T, p planted) {
			p.do(t, http.MethodDelete, "/_index_template/prod-template.08x."+p.id+".tracardi-profile", nil)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := plant(t)
			row.plant(t, p)
			report := p.judge(t, fleet.Expect{Release: "0.8.1"})
			require.False(t, report.OK(), "%s", report)
			var faults []fleet.Fault
			for _, d := range report.Discrepancies {
				faults = append(faults, d.Fault)
			}
			require.Contains(t, faults, row.fault, "%s", report)
		})
	}
}

func TestQuarantineAccountsForMissingDocuments(t *testing.T) {
	t.Parallel()
	p := plant(t)
	quarantined := map[fleet.Document]struct{}{{Index: p.index, ID: p.ids[0]}: {}}

	report := p.judge(t, fleet.Expect{Release: "0.8.1", Quarantined: quarantined})
	require.Len(t, report.Discrepancies, 1, "in quarantine and in its index: %s", report)
	require.Equal(t, fleet.Quarantine, report.Discrepancies[0].Fault)

	p.do(t, http.MethodDelete, p.doc(0), nil)
	report = p.judge(t, fleet.Expect{Release: "0.8.1", Quarantined: quarantined})
	require.True(t, report.OK(), "%s", report)
	require.Equal(t, 1, report.Quarantined)
	require.Equal(t, 59, report.Documents)
}
