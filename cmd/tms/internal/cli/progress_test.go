package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
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
	r.Tenants[0].Reason = "the engine is busy"
	l.update(r)
	r.Tenants[0] = &tmsv1.RolloutTenant{
		TenantId: "t0", State: "switched", Indices: 76, Documents: 100, FenceMs: 412.6, Seconds: 12.34, Quarantined: 2,
		Verification: &tmsv1.Verification{Level: "full", Verdict: "equal"},
	}
	r.State = "complete"
	l.update(r)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		"rollout r1: running", "t0 copying, 0 of 100 documents", "t0 copying, 50 of 100 documents: the engine is busy",
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
	b.close()
	assert.Contains(t, out.String(), "connection to TMS lost")
	assert.Contains(t, out.String(), "t47 switched")
}
