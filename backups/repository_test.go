package backups_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

func TestRepositoryCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind backups.Kind
		set  map[string]string
		want string // in the error; "" for none
	}{
		{"nas", backups.KindFS, map[string]string{"location": "/mnt/nas"}, ""},
		{"archive", backups.KindS3, map[string]string{"bucket": "b", "base_path": "x", "server_side_encryption": "true"}, ""},
		{"web", backups.KindURL, map[string]string{"url": "https://example.com/snapshots/"}, ""},
		{"Nas", backups.KindFS, map[string]string{"location": "/mnt/nas"}, "no name for a repository"},
		{"", backups.KindFS, nil, "no name for a repository"},
		{"a/b", backups.KindFS, nil, "no name for a repository"},
		{"nas", "hdfs", nil, "no kind of repository"},
		{"nas", backups.KindFS, nil, "settings.location: is missing"},
		{"nas", backups.KindFS, map[string]string{"location": "nas"}, "not an absolute path"},
		{"s", backups.KindS3, map[string]string{}, "settings.bucket: is missing"},
		{"s", backups.KindAzure, map[string]string{}, "settings.container: is missing"},
		{"s", backups.KindGCS, map[string]string{"bucket": " "}, "settings.bucket: is missing"},
		{"s", backups.KindS3, map[string]string{"bucket": "b", "access_key": "AKIA"}, "carries a secret"},
		{"s", backups.KindS3, map[string]string{"bucket": "b", "secret_key": "x"}, "carries a secret"},
		{"s", backups.KindS3, map[string]string{"bucket": "b", "session_token": "x"}, "carries a secret"},
		{"s", backups.KindAzure, map[string]string{"container": "c", "sas_token": "x"}, "carries a secret"},
		{"s", backups.KindAzure, map[string]string{"container": "c", "key": "x"}, "carries a secret"},
		{"w", backups.KindURL, map[string]string{"url": "https://user:hunter2@example.com/"}, "holds credentials"},
	} {
		err := backups.Repository{Name: c.name, Kind: c.kind, Settings: c.set}.Check()
		if c.want == "" {
			require.NoError(t, err, "%s %s", c.name, c.kind)
			continue
		}
		if assert.ErrorContains(t, err, c.want, "%s %s", c.name, c.kind) {
			assert.NotContains(t, err.Error(), "hunter2")
			assert.NotContains(t, err.Error(), "AKIA")
			assert.True(t, backups.HasReason(err, backups.ReasonInvalid))
		}
	}
}

// TestRepositoriesAreRefused: what the engine cannot use is refused in words,
// and leaves nothing behind.
func TestRepositoriesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	name := devtest.Prefix(t)
	nodes, err := b.engine.Nodes(b.ctx)
	require.NoError(t, err)
	root := nodes[0].PathRepo[0]
	gone := func() {
		all, err := b.engine.Repositories(b.ctx)
		require.NoError(t, err)
		for _, r := range all {
			require.NotEqual(t, name, r.Name)
		}
		_, err = b.service.Repository(b.ctx, name)
		require.True(t, backups.HasReason(err, backups.ReasonNotFound))
	}
	put := func(kind backups.Kind, settings map[string]string) error {
		_, err := b.service.PutRepository(b.ctx, caller, backups.Repository{Name: name, Kind: kind, Settings: settings})
		return err
	}
	require.ErrorContains(t, put(backups.KindFS, map[string]string{"location": "/somewhere/else"}), "not below path.repo of node-1")
	gone()
	require.ErrorContains(t, put(backups.KindS3, map[string]string{"bucket": "b"}), "repository-s3 is not installed on node-1")
	gone()
	// A file where the directory should be: the node cannot write there.
	require.NoError(t, os.WriteFile(root+"/"+name, nil, 0o600))
	err = put(backups.KindFS, map[string]string{"location": root + "/" + name})
	require.Error(t, err)
	gone()
	require.NoError(t, os.Remove(root+"/"+name))

	// Taken by somebody else.
	b.must("PUT", "/_snapshot/"+name+"?verify=false", `{"type":"fs","settings":{"location":"`+root+`/theirs"}}`)
	require.ErrorContains(t, put(backups.KindFS, map[string]string{"location": root + "/" + name}), "the cluster has another repository")
	require.NoError(t, put(backups.KindFS, map[string]string{"location": root + "/theirs"}), "the same one is taken over")
	t.Cleanup(func() { _ = os.RemoveAll(root + "/theirs") })

	// Read-only: nothing is taken into it.
	_, err = b.service.PutRepository(b.ctx, caller, backups.Repository{Name: name, Kind: backups.KindFS, ReadOnly: true, Settings: map[string]string{"location": root + "/theirs"}})
	require.NoError(t, err)
	_, err = b.service.Create(b.ctx, caller, backups.SnapshotOrder{Selection: backups.Selection{All: true}})
	require.ErrorContains(t, err, "no repository to write to")

	require.NoError(t, b.service.RemoveRepository(b.ctx, caller, name))
	gone()
}
