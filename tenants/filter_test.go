package tenants

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFilterText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Filter{
		"": {},
		"state:active label.tier:gold release:0.8.1": {State: StateActive, Release: "0.8.1", Labels: map[string]string{"tier": "gold"}},
		` cluster:eu	label.a.b/c:"two \"words\"" `:   {Cluster: "eu", Labels: map[string]string{"a.b/c": `two "words"`}},
		`state:purged state:purged label.x:""`:       {State: StatePurged, Labels: map[string]string{"x": ""}},
	} {
		var f Filter
		require.NoError(t, f.Parse(text), text)
		require.Equal(t, want, f, text)
	}
	for _, bad := range []string{
		"active", "state:", "state:gone", "state:active state:deleted", "colour:red", ":x", `release:"0.8.1`, `release:"a"b`, `release:a"b`,
		"state active:x", "label.a:1 label.a:2", strings.Repeat("state:active ", 33), strings.Repeat("x", MaxFilterLength+1),
	} {
		var f Filter
		err := f.Parse(bad)
		require.True(t, HasReason(err, ReasonInvalidField), "%s: %v", bad, err)
	}
	f := Filter{Release: "0.8.2", Labels: map[string]string{"a": "1"}}
	require.Error(t, f.Parse("release:0.8.1"), "no tenant could meet both")
	given := f.Labels
	require.NoError(t, f.Parse("label.b:2"))
	require.Len(t, given, 1, "the caller's map is his own")
}

func FuzzFilter(f *testing.F) {
	f.Add(`state:active label.x:"y z" release:1`)
	f.Fuzz(func(t *testing.T, text string) {
		var filter Filter
		if err := filter.Parse(text); err != nil {
			require.True(t, HasReason(err, ReasonInvalidField))
		}
	})
}

func TestOrderText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Order{
		"": {}, "id": {Field: "id"}, "create_time desc": {Field: "create_time", Descending: true}, " release  asc ": {Field: "release"},
	} {
		got, err := ParseOrder(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"expire_time", "id up", "id desc id", "id,release", "id; drop table tenants"} {
		_, err := ParseOrder(bad)
		require.True(t, HasReason(err, ReasonInvalidField), bad)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	x := &Tenant{ID: "acme", CreatedAt: now, DisplayName: "Acme", Release: "0.8.1"}
	require.Equal(t, "2026-01-02T03:04:05.000006Z", Order{Field: "create_time"}.OrderKey(x))
	require.Empty(t, Order{}.OrderKey(x))
}
