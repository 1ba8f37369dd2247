package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

// Every method that the server offers has a row in the table, and no row
// stands for a method that is gone.
func TestEveryMethodHasAnAuthorisationRow(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	require.NoError(t, err)
	defer s.conn.Close()
	defer s.grpc.Stop()
	offered := map[string]bool{}
	for _, m := range methods(s.grpc) {
		if isOpen(m) {
			require.False(t, strings.HasPrefix(m, "/tms."), "%s needs no key", m)
			continue
		}
		offered[m] = true
		r, ok := access[m]
		require.True(t, ok, "add a row for %s in access.go", m)
		require.False(t, r.scope.free && r.scope.of != nil, m)
	}
	for m := range access {
		require.True(t, offered[m], "%s is not offered", m)
	}
}

func TestRolesAreRefusedWhatTheyMayNot(t *testing.T) {
	t.Parallel()
	read := []tenants.Permission{tenants.PermCheck, tenants.PermRead}
	allowed := map[tenants.Role][]tenants.Permission{
		tenants.RoleInstance:    {tenants.PermCheck},
		tenants.RoleViewer:      read,
		tenants.RoleProvisioner: append([]tenants.Permission{tenants.PermTenants}, read...),
		tenants.RoleOperator:    append([]tenants.Permission{tenants.PermUpgrades, tenants.PermBackups, tenants.PermPurge, tenants.PermAudit}, read...),
		tenants.RoleAdmin:       append([]tenants.Permission{tenants.PermTenants, tenants.PermUpgrades, tenants.PermBackups, tenants.PermPurge, tenants.PermAudit, tenants.PermKeys, tenants.PermWebhooks, tenants.PermClusters}, read...),
		"made up":               {},
	}
	for role, can := range allowed {
		for method, row := range access {
			err := authorize(tenants.Principal{KeyID: "k", Role: role}, method)
			if slices.Contains(can, row.need) {
				require.NoError(t, err, "%s %s", role, method)
			} else {
				require.True(t, tenants.HasReason(err, tenants.ReasonRoleTooSmall), "%s %s", role, method)
			}
		}
		require.Error(t, authorize(tenants.Principal{Role: role}, "/tms.v1.TenantService/Future"))
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	require.Equal(t, "abc-1.2_X", requestID("abc-1.2_X"))
	for _, bad := range []string{"", "a b", "a\nlevel=ERROR", strings.Repeat("x", 65)} {
		got := requestID(bad)
		require.NotEmpty(t, got)
		require.NotEqual(t, bad, got)
	}
}

func TestLooseTime(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"2026-01-02T03:04:05Z"`:       "2026-01-02T03:04:05Z",
		`"2026-01-02T03:04:05+02:00"`:  "2026-01-02T01:04:05Z",
		`"2026-01-02T03:04:05.678901"`: "2026-01-02T03:04:05.678901Z",
		`"2026-01-02 03:04:05"`:        "2026-01-02T03:04:05Z",
		`"2026-01-02"`:                 "2026-01-02T00:00:00Z",
		`1767323045`:                   "2026-01-02T03:04:05Z",
		`null`:                         "0001-01-01T00:00:00Z",
		`""`:                           "0001-01-01T00:00:00Z",
		``:                             "0001-01-01T00:00:00Z",
		`"soon"`:                       "", `{}`: "", `true`: "", `1e300`: "", `-1`: "",
	} {
		got, ok := looseTime([]byte(raw))
		require.Equal(t, want != "", ok, raw)
		if ok {
			require.Equal(t, want, got.Format("2006-01-02T15:04:05.999999999Z07:00"), raw)
		}
	}
}
