package cli_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

type refusals struct {
	Refusals []struct {
		Code     string `json:"code"`
		TenantID string `json:"tenant_id"`
		Message  string `json:"message"`
	} `json:"refusals"`
}

// A tenant without indices is refused, in the plan and at the start, with the
// same reason and nothing left behind.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := devtest.Prefix(t)
	require.Zero(t, run(t, b.client, "tenant", "create", id, "--release", "0.8.1").code)
	for _, args := range [][]string{
		{"upgrade", "plan", "--to", "0.8.2"},
		{"upgrade", "start", "--to", "0.8.2", "--dry-run"},
		{"upgrade", "start", "--to", "0.8.2", "--wait"},
	} {
		table := run(t, b.client, args...)
		assert.Equal(t, 3, table.code, args)
		assert.Contains(t, table.err, "tenant "+id)
		var got refusals
		asJSON := run(t, b.client, append(args, "-o", "json")...)
		assert.Equal(t, 3, asJSON.code, args)
		asJSON.decode(t, &got)
		require.Len(t, got.Refusals, 1, asJSON.out)
		assert.Equal(t, id, got.Refusals[0].TenantID)
		assert.NotEmpty(t, got.Refusals[0].Code)
	}
	listed := run(t, b.client, "upgrade", "list", "-o", "json")
	assert.JSONEq(t, "[]", listed.out)
}

func TestUpgradeOfUnknownTenant(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := run(t, b.client, "upgrade", "start", "--to", "0.8.2", "--tenant", "nobody", "--wait", "-o", "json")
	assert.Equal(t, 3, got.code, got.err)
	assert.Contains(t, got.err, "nobody")
}

// A tenant that is there already is done at once, and the whole way from the
// command to the workers and back is gone through.
func TestUpgradeWithNothingToDo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := devtest.Prefix(t)
	require.Zero(t, run(t, b.client, "tenant", "create", id, "--release", "0.8.2").code)
	got := run(t, b.client, "upgrade", "start", "--to", "0.8.2", "--wait", "-o", "json")
	require.Zero(t, got.code, got.err)
	var r struct {
		ID        string `json:"id"`
		State     string `json:"state"`
		ToRelease string `json:"to_release"`
		Tenants   []struct {
			Tenant       string   `json:"tenant"`
			TenantID     string   `json:"tenant_id"`
			State        string   `json:"state"`
			Release      string   `json:"release"`
			Documents    *int64   `json:"documents"`
			Quarantined  *int     `json:"quarantined"`
			FenceMS      *float64 `json:"fence_ms"`
			Verification *struct{ Level, Verdict string }
		} `json:"tenants"`
	}
	got.decode(t, &r)
	assert.Equal(t, "complete", r.State)
	require.Len(t, r.Tenants, 1)
	one := r.Tenants[0]
	assert.Equal(t, id, one.Tenant)
	assert.Equal(t, id, one.TenantID)
	assert.Equal(t, "switched", one.State)
	assert.Equal(t, "0.8.2", one.Release)
	require.NotNil(t, one.Verification)
	assert.Equal(t, "full", one.Verification.Level)
	require.NotNil(t, one.Documents)
	require.NotNil(t, one.Quarantined)
	require.NotNil(t, one.FenceMS)

	assert.Zero(t, run(t, b.client, "upgrade", "watch", r.ID).code)
	quarantine := run(t, b.client, "upgrade", "quarantine", r.ID, "-o", "json")
	assert.Zero(t, quarantine.code)
	assert.JSONEq(t, "[]", quarantine.out)
	assert.Contains(t, run(t, b.client, "upgrade", "list").out, r.ID)
	assert.Contains(t, run(t, b.client, "upgrade", "show", r.ID, "--moves").out, id)
	paused := run(t, b.client, "upgrade", "pause", r.ID)
	assert.Equal(t, 3, paused.code)
	assert.Contains(t, paused.err, "ended")
}
