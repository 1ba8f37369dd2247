package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

// TestRefusals has everything that keeps a rollout from starting; nothing of
// it may leave a rollout behind.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t).serve(1)
	refusals := func(code int, args ...string) []map[string]any {
		t.Helper()
		got := b.tms(append([]string{"upgrade", "start", "--wait", "-o", "json"}, args...)...)
		require.Equal(t, code, got.code, "%v: %s%s", args, got.stdout, got.stderr)
		var said struct {
			Refusals []map[string]any `json:"refusals"`
		}
		if code == 3 {
			require.NoError(t, json.Unmarshal([]byte(got.stdout), &said), got.stdout)
		}
		return said.Refusals
	}
	codes := func(list []map[string]any) (all []any) {
		for _, r := range list {
			require.NotEmpty(t, r["message"])
			all = append(all, r["code"])
		}
		return all
	}

	require.Equal(t, []any{"fleet_empty"}, codes(refusals(3, "--to", "0.8.2")))

	empty := devtest.Prefix(t)
	b.register(empty, "0.8.1")
	tenant := b.tenant("0.8.1", 1, 100, small...)
	list := refusals(3, "--to", "0.8.2")
	require.Equal(t, []any{"tenant_without_indices"}, codes(list))
	require.Equal(t, empty, list[0]["tenant_id"])

	require.Equal(t, []any{"tenant_unknown"}, codes(refusals(3, "--to", "0.8.2", "--tenant", "nobodyhere", "--tenant", tenant.Name())))
	refusals(2, "--to", "9.9.9")
	require.Equal(t, []any{"no_path"}, codes(refusals(3, "--to", "0.8.0", "--tenant", tenant.Name())))
	refusals(2, "--to", "0.8.2", "--verify", "perhaps")

	// A release that the tenant is not on is found out by its indices.
	wrong := devtest.Prefix(t)
	other := b.household(wrong, "0.8.1", seed, 1, "rule")
	require.NoError(t, other.Install(b.ctx))
	b.register(wrong, "0.8.0")
	require.Equal(t, []any{"tenant_without_indices"}, codes(refusals(3, "--to", "0.8.1", "--tenant", wrong)))

	require.JSONEq(t, "[]", b.tms("upgrade", "list", "-o", "json").stdout)
	tenant.judge("0.8.1")
}

// TestWrongKey has commands without the right to be obeyed.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	b := setup(t).serve(1)
	s := b.servers[0]
	for _, key := range []string{"wrong", b.keys.Instance} {
		got := b.tmsWith([]string{"TMS_ADDR=" + s.GRPC(), "TMS_API_KEY=" + key}, "tenant", "create", "acme", "--release", "0.8.1")
		require.Equal(t, 1, got.code, "%s%s", got.stdout, got.stderr)
		require.NotContains(t, got.stdout+got.stderr, key+" ", "a key is not repeated")
	}
	got := b.tmsWith([]string{"TMS_ADDR=" + s.GRPC(), "TMS_API_KEY="}, "tenant", "list")
	require.Equal(t, 2, got.code)
	require.Contains(t, got.stderr, "TMS_API_KEY is not set")
}
