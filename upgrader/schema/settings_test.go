package schema

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompareSettings(t *testing.T) {
	t.Parallel()
	want := map[string]any{"number_of_shards": "3", "mapping": map[string]any{"total_fields": map[string]any{"limit": 2000}}}
	require.NoError(t, CompareSettings(want, map[string]any{"number_of_shards": "3", "uuid": "x", "mapping": map[string]any{"total_fields": map[string]any{"limit": "2000"}}}))
	err := CompareSettings(want, map[string]any{"number_of_shards": "1"})
	require.ErrorContains(t, err, `number_of_shards is "1", wanted "3"`)
	require.True(t, strings.Contains(err.Error(), "total_fields.limit"))
}

func TestCloneSettings(t *testing.T) {
	t.Parallel()
	have := map[string]any{
		"uuid": "u", "creation_date": "1", "provided_name": "x", "number_of_shards": "3", "number_of_replicas": "1", "refresh_interval": "30s",
		"version": map[string]any{"created": "7"}, "max_result_window": "5", "blocks": map[string]any{"write": "true"},
		"routing": map[string]any{"allocation": map[string]any{"include": map[string]any{"_tier_preference": "data_content"}}},
	}
	got, err := CloneSettings(map[string]any{"number_of_shards": 3, "number_of_replicas": 0, "refresh_interval": "10s"}, have)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"blocks.write": nil, "max_result_window": nil, "number_of_replicas": "0", "refresh_interval": "10s"}, got)
	_, err = CloneSettings(map[string]any{"number_of_shards": 1}, have)
	require.ErrorContains(t, err, `number_of_shards is "3", wanted "1"`)
}
