package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vbauerster/mpb/v8"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func TestLinesPrintChangesOnly(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &lines{out: &out, seen: map[string]string{}}
	r := rolloutOf("running", "copying")
	r.Tenants[0].DocumentsTotal = 100
	l.update(r)
	r.Tenants[0].Documents = 50
	l.update(r)
	r.Tenants[0].Reason = "the engine is busy: 200 tasks are pending"
	l.update(r)
	r.Tenants[0].Reason = "the engine is busy: 305 tasks are pending" // nothing new
	l.update(r)
	r.Tenants[0] = &tmsv1.RolloutTenant{
		TenantId: "t0", State: "switched", Indices: 76, Documents: 100, FenceMs: 412.6, Seconds: 12.34, Quarantined: 2,
		Verification: &tmsv1.Verification{Level: "full", Verdict: "equal"},
	}
	r.State = "complete"
	l.update(r)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		"rollout r1: running", "t0 copying, 0 of 100 documents", "t0 copying, 50 of 100 documents: the engine is busy: 200 tasks are pending",
		"rollout r1: complete", "t0 switched: 76 indices, 100 documents, fence 413 ms, full: equal, 12.3s, 2 in quarantine",
	} {
		assert.True(t, strings.HasSuffix(got[i], want), got[i])
	}
	assert.Len(t, got, 5)
}

// Bars end whatever the rollout does, with more tenants than fit and some
// that start again.
func TestBarsEnd(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := newBars(&out, mpb.WithAutoRefresh()) // as on a terminal
	states := make([]string, 3*maxBars)
	for _, state := range []string{"planned", "copying", "failed", "copying", "switched"} {
		for i := range states {
			states[i] = state
		}
		r := rolloutOf("running", states...)
		for _, tenant := range r.Tenants {
			tenant.DocumentsTotal, tenant.Documents = 10, 5
		}
		b.update(r)
	}
	b.note("connection to TMS lost, trying again")
	b.update(rolloutOf("running", "copying"))
	for _, target := range []string{"0820.t0.event", "0820.t0.rule"} {
		b.progress(&tmsv1.RolloutProgress{
			Fleet: &tmsv1.PartProgress{Share: 0.3}, Waves: []*tmsv1.PartProgress{{Wave: 1, Share: 1}, {Wave: 2, Share: 0.1}},
			Tenants: []*tmsv1.TenantProgress{{TenantId: "t0", Stalled: "no process works on it", Indices: []*tmsv1.IndexProgress{{Target: target, State: "copying", Amount: &tmsv1.Amount{Documents: 5, DocumentsTotal: 10}}}}, {TenantId: "unseen"}},
		})
	}
	require.Len(t, b.indices, 1, "an index that is done loses its bar")
	b.close()
	assert.Contains(t, out.String(), "connection to TMS lost")
	assert.Contains(t, out.String(), "t47 switched")
}

// Lines tell of progress now and then, and of a standstill once.
func TestLinesTellProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &lines{out: &out, seen: map[string]string{}, every: time.Hour}
	p := &tmsv1.RolloutProgress{
		Fleet: &tmsv1.PartProgress{
			Share: 0.34, Amount: &tmsv1.Amount{Documents: 1234567, DocumentsTotal: 2000000, Bytes: 1 << 20, BytesTotal: 3 << 30, DocumentsPerSecond: 5200.4},
			Left: &tmsv1.TimeLeft{LowSeconds: 601, HighSeconds: 845}, Stalled: 1,
		},
		Tenants: []*tmsv1.TenantProgress{{TenantId: "acme", Stalled: "3m0s without progress in state copying: the engine is busy"}},
	}
	l.progress(p)
	l.progress(p)
	l.told = time.Now().Add(-2 * time.Hour)
	l.progress(p)
	p.Tenants[0].Stalled = ""
	l.progress(p)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, got, 3, out.String())
	for i, want := range []string{
		"acme stalled: 3m0s without progress in state copying: the engine is busy",
		"34 % of the work, 1,234,567 of 2,000,000 documents, 1.0 MB of 3.0 GB, 5,200/s, 10m to 14m left, 1 stalled",
		"acme goes on",
	} {
		require.True(t, strings.HasSuffix(got[i], want), got[i])
	}
}

func TestCoarse(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{0.4: "0s", 7.6: "8s", 43: "45s", 119: "2m0s", 601: "10m", 7100: "1h58m", 7300: "2h0m", 40000: "11h10m"} {
		require.Equal(t, want, coarse(seconds))
	}
	require.Equal(t, "-1,234", grouped(-1234))
	require.Equal(t, "999", grouped(999))
	require.Equal(t, "1023 B", size(1023))
}
