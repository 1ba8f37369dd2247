package db_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

const copySecret = "a secret of sixteen bytes or more"

// copied is a registry with something of everything, and a copy of it.
func copied(t *testing.T) (dsn string, file []byte) {
	t.Helper()
	dsn = devtest.Database(t, db.Migrate)
	d, err := db.Open(t.Context(), dsn)
	require.NoError(t, err)
	defer d.Close()
	for _, sql := range []string{
		`insert into tenants (id, install_token, release, cluster, labels, attributes) values
			('acme', '\x00ff10', '0.8.1', 'default', '{"a": "<b> & \u2028"}', '{"n": 12345678901234567890.5}'), ('globex', '', '0.8.1', 'default', '{}', null), ('initech', '', '0.8.1', 'default', '{}', null)`,
		`update tenants set deleted_at = now(), purge_at = now() + interval '1 hour' where id = 'initech'`,
		// A row may refer to a later one of its own table.
		`insert into api_keys (id, hash, display_name, role, created_by) values ('new', sha256('n'), 'n', 'viewer', 'test')`,
		`insert into api_keys (id, hash, display_name, role, created_by, successor_id) values ('a-former', sha256('f'), 'f', 'viewer', 'test', 'new')`,
		`insert into audit (at, key_id, role, action, subject, request_id, detail) values (now(), 'k', 'admin', 'tenant.create', 'acme', '', '{}')`,
		`insert into backup_repositories (name, kind, created_by, created_at) values ('nas', 'fs', 'test', now())`,
		`insert into backup_runs (id, kind, state, working, repository, tenants, body, created_by, created_at, next_at) values
			('tms-1', 'snapshot', 'running', true, 'nas', '{acme}', '{"snapshot": {}}', 'test', now(), now())`,
	} {
		_, err := d.Pool().Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	require.NoError(t, db.NewRollouts(d).CreateRollout(t.Context(), newRollout("r1", "acme", "globex"), nil, "req"))
	var out bytes.Buffer
	s, err := d.ExportRegistry(t.Context(), &out, db.ExportOptions{Secret: copySecret, Program: "test"})
	require.NoError(t, err)
	require.EqualValues(t, 3, s.Rows["tenants"])
	require.EqualValues(t, 2, s.Rows["rollout_tenants"])
	return dsn, out.Bytes()
}

// everything is all rows of what a copy holds, as text.
func everything(t *testing.T, dsn string) map[string]string {
	t.Helper()
	d, err := db.Open(t.Context(), dsn)
	require.NoError(t, err)
	defer d.Close()
	out := map[string]string{}
	for _, table := range []string{"tenants", "api_keys", "tenant_labels", "rollout_tenants", "rollout_moves", "backup_repositories"} {
		var rows string
		require.NoError(t, d.Pool().QueryRow(t.Context(), `select coalesce(string_agg(r, e'\n' order by r), '') from (select (to_jsonb(t) - 'purge_at' - 'epoch' - 'lease_until')::text r from `+table+` t) x`).Scan(&rows))
		out[table] = rows
	}
	return out
}

func TestRegistryCopy(t *testing.T) {
	t.Parallel()
	old, file := copied(t)
	checked, err := db.CheckCopy(bytes.NewReader(file))
	require.NoError(t, err)
	require.EqualValues(t, 2, checked.Rows["audit"])

	dsn := devtest.Database(t, db.Migrate)
	o := db.ImportOptions{Secret: copySecret}
	got, err := db.ImportRegistry(t.Context(), dsn, bytes.NewReader(file), o)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"rollouts paused": 1, "purges put off": 1, "snapshots and restores given up": 1}, got.Stopped)
	require.Equal(t, everything(t, old), everything(t, dsn))

	// Triggers and counters are at work again.
	d, err := db.Open(t.Context(), dsn)
	require.NoError(t, err)
	_, err = d.Pool().Exec(t.Context(), `delete from audit`)
	require.ErrorContains(t, err, "append-only")
	var revision, entries, head int64
	require.NoError(t, d.Pool().QueryRow(t.Context(), `update tenants set display_name = 'x' where id = 'acme' returning revision`).Scan(&revision))
	require.EqualValues(t, 2, revision)
	require.NoError(t, d.Pool().QueryRow(t.Context(), `select count(*), (select head from event_log) from audit`).Scan(&entries, &head))
	require.EqualValues(t, 3, entries, "the import is in the trail")
	require.Greater(t, head, int64(1_000_000), "followers are told of a gap")

	// Others are connected; then the registry is not empty.
	requireRefused(t, "registry_in_use", dsn, file, o)
	d.Close()
	requireRefused(t, "registry_not_empty", dsn, file, o)
	o.Replace = true
	_, err = db.ImportRegistry(t.Context(), dsn, bytes.NewReader(file), o)
	require.NoError(t, err)
	require.Equal(t, everything(t, old), everything(t, dsn))
}

func requireRefused(t *testing.T, code, dsn string, file []byte, o db.ImportOptions) {
	t.Helper()
	_, err := db.ImportRegistry(t.Context(), dsn, bytes.NewReader(file), o)
	var refused *db.CopyError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code, "%v", err)
	require.NotEmpty(t, refused.Remedy)
}

// TestRegistryCopiesThatAreRefused leave the database as it was.
func TestRegistryCopiesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, file := copied(t)
	lines := bytes.SplitAfter(file, []byte("\n"))
	dsn := devtest.Database(t, db.Migrate)
	before := everything(t, dsn)
	good := db.ImportOptions{Secret: copySecret}
	requireRefused(t, "copy_secret", dsn, file, db.ImportOptions{Secret: "another secret, long enough"})
	requireRefused(t, "copy_schema", dsn, bytes.Replace(file, []byte(`"schema":`), []byte(`"schema":9`), 1), good)
	requireRefused(t, "copy_format", dsn, bytes.Replace(file, []byte(`"format":1`), []byte(`"format":2`), 1), good)
	for name, damaged := range map[string][]byte{
		"empty":          nil,
		"something else": []byte("PK\x03\x04\n"),
		"cut":            bytes.Join(lines[:len(lines)-3], nil),
		"cut in a line":  file[:len(file)-10],
		"a row is gone":  bytes.Join(append(append([][]byte{}, lines[:2]...), lines[3:]...), nil),
		"a value":        bytes.Replace(file, []byte(`"release":"0.8.1"`), []byte(`"release":"0.8.2"`), 1),
		"appended":       append(bytes.Clone(file), "{}\n"...),
	} {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, "copy_damaged", dsn, damaged, good)
			_, err := db.CheckCopy(bytes.NewReader(damaged))
			require.Error(t, err)
		})
	}
	require.Equal(t, before, everything(t, dsn))
	_, err := db.ImportRegistry(t.Context(), devtest.Database(t, nil), bytes.NewReader(file), good)
	require.ErrorContains(t, err, "tms migrate")
	_, err = db.ImportRegistry(t.Context(), dsn, bytes.NewReader(file), db.ImportOptions{Secret: "the new secret, long enough", OldSecret: copySecret})
	require.NoError(t, err, "SECRET was changed since")
}
