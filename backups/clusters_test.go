package backups_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/tenants"
)

// everywhere is one engine under every name.
type everywhere struct{ backups.Engine }

func (e everywhere) Names(context.Context) ([]string, error) { return []string{"default", "eu"}, nil }

func (e everywhere) For(context.Context, string) (backups.Engine, error) { return e.Engine, nil }

// twoHomes registers tenants and repositories, by cluster, in the default one and
// eu, and returns what registers a further repository.
func (b *bundle) twoHomes(ids, repositories map[string]string) (put func(name, cluster string)) {
	b.t.Helper()
	b.service.WithEngines(everywhere{b.engine})
	_, err := b.db.Pool().Exec(b.ctx, `insert into clusters (name, urls, secret, created_by, created_at, updated_at) values ('eu', '{}', '', '', now(), now())`)
	require.NoError(b.t, err)
	for id, cluster := range ids {
		_, err := b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', $2)`, id, cluster)
		require.NoError(b.t, err)
	}
	put = func(name, cluster string) {
		b.t.Helper()
		require.NoError(b.t, b.store.PutRepository(b.ctx, backups.Repository{Name: name, Cluster: cluster, Kind: backups.KindFS, CreatedAt: time.Now()}, tenants.Audit{At: time.Now()}))
	}
	for name, cluster := range repositories {
		put(name, cluster)
	}
	return put
}

// A repository takes the tenants of its cluster, and those of no other.
func TestRepositoriesBelongToClusters(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	put := b.twoHomes(map[string]string{"acme": "default", "beta": "eu", "gamma": "eu"}, map[string]string{"home": "", "far": "eu"})
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
		"one lives elsewhere":         {"far", backups.Selection{Tenants: []string{"acme", "beta"}}, nil, "", "far belongs to cluster eu; of the tenants named 1 live elsewhere, for instance acme"},
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
	b.before(t, map[string]string{"home": "default", "far": "eu"}, put)
	_, err := b.service.PutRepository(b.ctx, caller, backups.Repository{Name: "far", Kind: backups.KindFS, Settings: map[string]string{"location": "/mnt/x"}})
	require.ErrorContains(t, err, "repository far belongs to cluster eu")
}

// Before a rollout over clusters one snapshot is taken in each, into the
// repository that was named of it, or its only one.
func (b *bundle) before(t *testing.T, clusterOf map[string]string, put func(name, cluster string)) {
	t.Helper()
	begin := func(rollout string, repositories []string, ids ...string) (map[string]string, error) {
		taken, err := b.service.BeginBefore(b.ctx, caller.KeyID, rollout, repositories, ids)
		into := map[string]string{}
		for home, name := range taken {
			r, err := b.service.Run(b.ctx, backups.RunSnapshot, name)
			require.NoError(t, err)
			require.Equal(t, home, clusterOf[r.Repository])
			into[r.Repository] = strings.Join(r.Tenants, " ")
		}
		return into, err
	}
	into, err := begin("r1", nil, "gamma", "acme", "beta")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"home": "acme", "far": "beta gamma"}, into)
	first, err := b.service.BeginBefore(b.ctx, caller.KeyID, "r1", nil, []string{"gamma", "acme", "beta"})
	require.NoError(t, err)
	again, err := b.service.BeginBefore(b.ctx, caller.KeyID, "r1", []string{"far"}, []string{"gamma", "acme", "beta"})
	require.NoError(t, err)
	require.Equal(t, first, again, "the same rollout")

	put("far2", "eu")
	clusterOf["far2"] = "eu"
	for name, c := range map[string]struct {
		repositories []string
		tenants      []string
		into         map[string]string
		why          string
	}{
		"one is named":           {[]string{"far2"}, []string{"acme", "beta"}, map[string]string{"home": "acme", "far2": "beta"}, ""},
		"each is named":          {[]string{"far", "home"}, []string{"acme", "beta"}, map[string]string{"home": "acme", "far": "beta"}, ""},
		"one cluster":            {[]string{"far2"}, []string{"beta"}, map[string]string{"far2": "beta"}, ""},
		"too many to choose":     {nil, []string{"acme", "beta"}, nil, "cluster eu: there are 2 repositories to choose from"},
		"two of the same":        {[]string{"far", "far2"}, []string{"acme", "beta"}, nil, "far and far2 belong to the same cluster, eu"},
		"nobody lives there":     {[]string{"far"}, []string{"acme"}, nil, "far belongs to cluster eu, but the tenants live in default"},
		"there is no such thing": {[]string{"near"}, []string{"acme"}, nil, "near"},
	} {
		into, err := begin("of "+name, c.repositories, c.tenants...)
		if c.why != "" {
			require.ErrorContains(t, err, c.why, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.into, into, name)
	}
}
