package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What was done is found again: operations and the audit trail, by their
// conditions and over several pages.
func TestOperationsAndAudit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := time.Now().UTC()
	for _, id := range []string{"acme", "globex"} {
		require.Zero(t, run(t, b.client, "tenant", "create", id, "--release", "0.8.1").code)
	}
	require.Zero(t, run(t, b.client, "tenant", "update", "acme", "--state", "suspended").code)
	require.Zero(t, run(t, b.client, "tenant", "delete", "globex").code)
	var op struct{ ID, State, Kind string }
	run(t, b.client, "tenant", "purge", "globex", "--without-snapshot", "-o", "json").decode(t, &op)
	waited := run(t, b.client, "operation", "wait", op.ID, "--within", "1m")
	require.Zero(t, waited.code, waited.err)
	assert.Contains(t, waited.out, "waived")
	assert.Contains(t, run(t, b.client, "operation", "list", "--state", "succeeded", "--tenant", "globex").out, op.ID)
	assert.NotContains(t, run(t, b.client, "operation", "list", "--tenant", "acme").out, op.ID)
	run(t, b.client, "operation", "show", op.ID, "-o", "json").decode(t, &op)
	assert.Equal(t, "succeeded", op.State)
	assert.Equal(t, "tenant.purge", op.Kind)

	type record struct{ Action, Subject, Role string }
	list := func(args ...string) (found []record) {
		t.Helper()
		got := run(t, b.client, append([]string{"audit", "list", "-o", "json"}, args...)...)
		require.Zero(t, got.code, got.err)
		got.decode(t, &found)
		return found
	}
	assert.Equal(t, []record{{"tenant.update", "acme", "admin"}, {"tenant.create", "acme", "admin"}}, list("--tenant", "acme"))
	assert.Len(t, list("--action", "tenant.create"), 2)
	assert.Len(t, list("--action", "tenant.create", "--limit", "1"), 1)
	assert.Len(t, list("--actor", "env-admin", "--action", "tenant.", "--limit", "0", "--subject", "acme"), 2)
	assert.Empty(t, list("--until", began.Add(-time.Minute).Format(time.RFC3339)))
	assert.Empty(t, list("--since", "0s"))
	assert.NotEmpty(t, list("--since", "1h"))
	table := run(t, b.client, "audit", "list", "--tenant", "acme").out
	assert.Equal(t, 3, strings.Count(table, "\n"), table)
	assert.Contains(t, table, `"suspended":`, "what was changed is shown: %s", table)

	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"since":        {[]string{"audit", "list", "--since", "yesterday"}, 2, "--since"},
		"limit":        {[]string{"audit", "list", "--limit", "-1"}, 2, "--limit"},
		"twice":        {[]string{"audit", "list", "--tenant", "a", "--subject", "b"}, 2, "give one"},
		"no operation": {[]string{"operation", "show", "nothing"}, 1, "does not exist"},
		"state":        {[]string{"operation", "list", "--state", "lost"}, 2, "state"},
		"within":       {[]string{"operation", "wait", op.ID, "--within", "-1s"}, 2, "--within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, b.client, c.args...)
			assert.Equal(t, c.code, got.code, got.err)
			assert.Contains(t, got.err, c.want)
		})
	}
}
