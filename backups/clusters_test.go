package backups_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/tenants"
)

// everywhere is one engine under every name.
type everywhere struct{ backups.Engine }

func (e everywhere) For(context.Context, string) (backups.Engine, error) { return e.Engine, nil }

// A repository takes the tenants of its cluster, and those of no other.
func TestRepositoriesBelongToClusters(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.service.WithEngines(everywhere{b.engine})
	_, err := b.db.Pool().Exec(b.ctx, `insert into clusters (name, urls, secret, created_by, created_at, updated_at) values ('eu', '{}', '', '', now(), now())`)
	require.NoError(t, err)
	for id, cluster := range map[string]string{"acme": "default", "beta": "eu", "gamma": "eu"} {
		_, err := b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', $2)`, id, cluster)
		require.NoError(t, err)
	}
	put := func(name, cluster string) {
		require.NoError(t, b.store.PutRepository(b.ctx, backups.Repository{Name: name, Cluster: cluster, Kind: backups.KindFS, CreatedAt: time.Now()}, tenants.Audit{At: time.Now()}))
	}
	put("home", "")
	put("far", "eu")
	create := func(repository string, s backups.Selection) ([]string, string, error) {
		r, err := b.service.Create(b.ctx, caller, backups.SnapshotOrder{Repository: repository, Selection: s})
		if err != nil {
			return nil, "", err
		}
		return r.Tenants, r.Repository, nil
	}
	for name, c := range map[string]struct {
		repository string
		selection  backups.Selection
		tenants    []string
		into       string
		why        string
	}{
		"all of a cluster":            {"far", backups.Selection{All: true}, []string{"beta", "gamma"}, "far", ""},
		"named ones":                  {"far", backups.Selection{Tenants: []string{"beta"}}, []string{"beta"}, "far", ""},
		"named ones, and it is found": {"", backups.Selection{Tenants: []string{"beta"}}, []string{"beta"}, "far", ""},
		"the default one is found":    {"", backups.Selection{Tenants: []string{"acme"}}, []string{"acme"}, "home", ""},
		"one lives elsewhere":         {"far", backups.Selection{Tenants: []string{"acme", "beta"}}, nil, "", "far belongs to cluster eu, but tenant acme"},
		"of several, and none named":  {"", backups.Selection{Tenants: []string{"acme", "beta"}}, nil, "", "several clusters: default, eu"},
	} {
		got, into, err := create(c.repository, c.selection)
		if c.why != "" {
			require.ErrorContains(t, err, c.why, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.tenants, got, name)
		require.Equal(t, c.into, into, name)
	}
	_, err = b.service.PutRepository(b.ctx, caller, backups.Repository{Name: "far", Kind: backups.KindFS, Settings: map[string]string{"location": "/mnt/x"}})
	require.ErrorContains(t, err, "repository far belongs to cluster eu")
}
