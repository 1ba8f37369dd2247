package db_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

func newKey(id string, at time.Time) *tenants.APIKey {
	return &tenants.APIKey{ID: id, Hash: sha256.Sum256([]byte(id)), DisplayName: "test", Role: tenants.RoleViewer, CreatedBy: "tester", CreatedAt: at}
}

func TestKeyLifecycle(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	now := time.Now().UTC().Truncate(time.Microsecond)
	require.NoError(t, b.store.CreateKey(ctx, newKey("one", now), "", time.Time{}, audit("key.create", "one")))
	got, err := b.store.Key(ctx, "one")
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256([]byte("one")), got.Hash)
	require.True(t, got.ExpiresAt.IsZero())

	end := now.Add(time.Hour)
	require.NoError(t, b.store.CreateKey(ctx, newKey("two", now), "one", end, audit("key.rotate", "one")))
	got, err = b.store.Key(ctx, "one")
	require.NoError(t, err)
	require.Equal(t, "two", got.SuccessorID)
	require.True(t, end.Equal(got.ExpiresAt))

	err = b.store.CreateKey(ctx, newKey("three", now), "one", end, audit("key.rotate", "one"))
	require.True(t, tenants.HasReason(err, tenants.ReasonWrongState), "%v", err)
	_, err = b.store.Key(ctx, "three")
	require.True(t, tenants.HasReason(err, tenants.ReasonKeyNotFound), "a refused rotation leaves no key behind")
	err = b.store.CreateKey(ctx, newKey("four", now), "nobody", end, audit("key.rotate", "nobody"))
	require.True(t, tenants.HasReason(err, tenants.ReasonKeyNotFound), "%v", err)

	got, err = b.store.RevokeKey(ctx, "two", now, audit("key.revoke", "two"))
	require.NoError(t, err)
	require.Equal(t, "revoked", got.StateAt(now))
	_, err = b.store.RevokeKey(ctx, "two", now.Add(time.Second), audit("key.revoke", "two"))
	require.NoError(t, err)
	require.Equal(t, 1, b.count(t, `select count(*) from audit where action = 'key.revoke'`))
	_, err = b.store.RevokeKey(ctx, "nobody", now, audit("key.revoke", "nobody"))
	require.True(t, tenants.HasReason(err, tenants.ReasonKeyNotFound))

	minute := now.Truncate(time.Minute)
	require.NoError(t, b.store.TouchKeys(ctx, map[string]time.Time{"one": minute, "nobody": minute}))
	require.NoError(t, b.store.TouchKeys(ctx, map[string]time.Time{"one": minute.Add(-time.Hour)}))
	got, err = b.store.Key(ctx, "one")
	require.NoError(t, err)
	require.True(t, minute.Equal(got.LastUsedAt), "a last use never goes back")
}

func TestKeysPages(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i, id := range []string{"aaa", "bbb", "ccc"} {
		at := now.Add(time.Duration(i/2) * time.Second) // two of the same time
		require.NoError(t, b.store.CreateKey(t.Context(), newKey(id, at), "", time.Time{}, audit("key.create", id)))
	}
	var seen []string
	var before time.Time
	var beforeID string
	for {
		page, err := b.store.Keys(t.Context(), before, beforeID, 1)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		seen = append(seen, page[0].ID)
		before, beforeID = page[0].CreatedAt, page[0].ID
	}
	require.Equal(t, []string{"ccc", "bbb", "aaa"}, seen)
}
