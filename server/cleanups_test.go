package server_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cleanup"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// emptyLand is a search cluster with one old index of tenant acme: what is
// tested here is the way to and from a cleanup.
type emptyLand struct{}

func (emptyLand) Standing(_ context.Context, patterns ...string) ([]cleanup.Index, error) {
	for _, p := range patterns {
		if p == "080.acme.*" || p == "080.*" {
			return []cleanup.Index{{Name: "080.acme.tracardi-rule", UUID: "one", Shards: 1}}, nil
		}
	}
	return nil, nil
}
func (emptyLand) Vitals(context.Context) (cleanup.Vitals, error) {
	return cleanup.Vitals{Nodes: 1}, nil
}
func (emptyLand) Templates(context.Context, string) ([]upgrader.Template, error) {
	return nil, nil
}
func (emptyLand) DeleteIndices(context.Context, ...string) error              { return nil }
func (emptyLand) DeleteTemplate(context.Context, string) error                { return nil }
func (emptyLand) UpdateAliases(context.Context, []upgrader.AliasAction) error { return nil }

// Tracardi's routes for old indices: 409 for a version in use, and the
// operation that deletes one that is not.
func TestTracardiCleanup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme") // on 0.8.1
	_, operator := b.key(tenants.RoleOperator)
	_, instance := b.key(tenants.RoleInstance)
	for _, one := range []struct {
		name, path, credential string
		code                   int
		says                   string
	}{
		{"a version in use", "/indices/version/0.8.1", operator, http.StatusConflict, "release 0.8.1"},
		{"the same by prefix", "/indices?db_version=08x&codename=acme", operator, http.StatusConflict, "release 0.8.1"},
		{"an unknown version", "/indices/version/9.9", operator, http.StatusUnprocessableEntity, `"loc":["path","version"],"msg":"\"9.9\" is`},
		{"no version", "/indices", operator, http.StatusUnprocessableEntity, `"loc":["query","db_version"]`},
		{"nothing there", "/indices/version/0.7.4", operator, http.StatusConflict, "nothing of version 0.7.4"},
		{"no snapshot, and what to do", "/indices/version/0.8.0", operator, http.StatusConflict, "(take one with `tms backup create --tenant acme`, or waive it"},
		{"an old digest", "/indices/version/0.8.0?without_snapshot=true&digest=0123456789abcdef", operator, http.StatusConflict, "not as planned"},
		{"a wrong waiver", "/indices/version/0.8.0?without_snapshot=perhaps", operator, http.StatusUnprocessableEntity, `"loc":["query","without_snapshot"]`},
		{"a container's key", "/indices/version/0.8.0?without_snapshot=true", instance, http.StatusForbidden, "role"},
		{"with a waiver", "/indices/version/0.8.0?without_snapshot=true", operator, http.StatusAccepted, `"080.acme.tracardi-rule"`},
		{"again", "/indices?db_version=080&without_snapshot=true", operator, http.StatusAccepted, `"080.acme.tracardi-rule"`},
	} {
		got := b.http(http.MethodDelete, one.path, one.credential, "")
		require.Equal(t, one.code, got.code, "%s: %s", one.name, got.body)
		require.Contains(t, got.body, one.says, one.name)
	}
	found, err := b.audit.List(b.admin(), &tmsv1.ListAuditRequest{Action: "version.cleanup"})
	require.NoError(t, err)
	require.Len(t, found.GetRecords(), 1, "begun once")
}
