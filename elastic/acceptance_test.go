package elastic_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/upgrader"
)

// lacking are the mapping types that a release might use and that engines do
// not have, as each of them says when it is asked. flattened is translated
// where there is another type for it. The Elasticsearch of the tests has no
// x-pack module but flattened's, so its default distribution has more.
var lacking = map[devstack.EngineKind][]string{
	devstack.Elasticsearch710: {"constant_keyword", "dense_vector", "flat_object", "flattened", "histogram", "knn_vector", "match_only_text", "semantic_text", "unsigned_long", "version", "wildcard"},
	devstack.Elasticsearch717: {"constant_keyword", "dense_vector", "flat_object", "histogram", "knn_vector", "semantic_text", "unsigned_long", "version", "wildcard"},
	devstack.OpenSearch219:    {"constant_keyword", "dense_vector", "histogram", "knn_vector", "semantic_text", "version"},
}

var fieldTypes = []string{
	"keyword", "text", "date", "date_nanos", "long", "double", "half_float", "scaled_float", "boolean", "ip", "geo_point", "nested", "object", "binary", "alias", "join", "integer_range",
	"search_as_you_type", "rank_feature", "dense_vector", "flattened", "flat_object", "wildcard", "constant_keyword", "unsigned_long", "version", "match_only_text", "histogram", "knn_vector", "semantic_text",
}

func testCheckIndex(b *bench) {
	var refused []string
	for _, kind := range fieldTypes {
		field := map[string]any{"type": kind}
		switch kind {
		case "alias":
			field["path"] = "a.b"
		case "join":
			field["relations"] = map[string]any{"q": "r"}
		case "scaled_float":
			field["scaling_factor"] = 10
		case "dense_vector":
			field["dims"] = 3
		case "knn_vector":
			field["dimension"] = 3
		}
		err := b.CheckIndex(b.ctx, upgrader.IndexBody{Settings: map[string]any{"number_of_shards": "1"}, Mappings: map[string]any{
			"dynamic": "strict", "properties": map[string]any{"a": map[string]any{"properties": map[string]any{"b": map[string]any{"type": "keyword"}}}, "tested": field},
		}})
		if err != nil {
			refused = append(refused, kind)
			require.ErrorContains(b.t, err, "tested")
			require.NotContains(b.t, err.Error(), "simulate_template")
		}
	}
	slices.Sort(refused)
	require.Equal(b.t, lacking[b.kind], refused)

	err := b.CheckIndex(b.ctx, upgrader.IndexBody{Settings: map[string]any{"number_of_shards": "1", "nothing": map[string]any{"known": "1"}}})
	require.ErrorContains(b.t, err, "unknown setting [index.nothing.known]")
	err = b.CheckIndex(b.ctx, upgrader.IndexBody{Mappings: map[string]any{"properties": map[string]any{"a": map[string]any{"type": "text", "analyzer": "tms-unknown"}}}})
	require.ErrorContains(b.t, err, "tms-unknown")
	require.ErrorAs(b.t, err, new(*upgrader.EngineError))
}
