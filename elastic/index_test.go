package elastic_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/upgrader"
)

const someMapping = `{"dynamic":"strict","_meta":{"version":"08x"},"properties":{
	"id":{"type":"keyword","ignore_above":64},
	"traits":{"type":"object","dynamic":"true"},
	"name":{"type":"text","fields":{"keyword":{"type":"keyword"}}}}}`

func testIndexRoundTrip(b *bench) {
	name, alias := b.prefix+".a", b.prefix+".alias"
	mapping := object(b.t, someMapping)
	require.NoError(b.t, b.CreateIndex(b.ctx, name, upgrader.IndexBody{
		Settings: map[string]any{"number_of_shards": 2, "number_of_replicas": "0", "refresh_interval": "30s"},
		Mappings: mapping,
		Aliases:  map[string]struct{}{alias: {}},
	}))
	list, err := b.Indices(b.ctx, b.prefix+".*", name)
	require.NoError(b.t, err)
	require.Len(b.t, list, 1)
	got := list[0]
	require.Equal(b.t, name, got.Name)
	require.NotEmpty(b.t, got.UUID)
	require.Equal(b.t, []string{alias}, got.Aliases)
	require.Equal(b.t, "2", got.Settings["number_of_shards"])
	require.Equal(b.t, "30s", got.Settings["refresh_interval"])
	require.Equal(b.t, mapping, got.Mapping)
	require.False(b.t, got.WriteBlocked)
}

func testIndexExists(b *bench) {
	name := b.create("a", 1, nil)
	err := b.CreateIndex(b.ctx, name, upgrader.IndexBody{})
	require.ErrorIs(b.t, err, upgrader.ErrAlreadyExists)
	require.ErrorContains(b.t, err, "create index "+name)
}

// testShardLimit asks for more shards than any cluster of one node may hold.
func testShardLimit(b *bench) {
	err := b.CreateIndex(b.ctx, b.prefix+".big", upgrader.IndexBody{
		Settings: map[string]any{"number_of_shards": 1000, "number_of_replicas": 100},
	})
	e := engineError(b.t, err)
	require.Equal(b.t, http.StatusBadRequest, e.Status)
	require.Contains(b.t, e.Reason, "this action would add [101000]")
	require.Contains(b.t, e.Reason, "maximum")
}

func testDelete(b *bench) {
	keep, gone := b.create("keep", 1, nil), b.create("gone", 1, nil)
	for _, bad := range []string{"", "*", "_all", b.prefix + "*", keep + "," + gone, "-" + keep, "_x", "+x", "a?", "<a-{now}>", "A", "a b", "a%2ab", ".."} {
		require.Error(b.t, b.DeleteIndices(b.ctx, gone, bad), bad)
	}
	list, err := b.Indices(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Len(b.t, list, 2, "a refused call must not have deleted anything")

	alias := b.prefix + ".alias"
	require.NoError(b.t, b.UpdateAliases(b.ctx, []upgrader.AliasAction{{Index: keep, Alias: alias}}))
	require.NoError(b.t, b.DeleteIndices(b.ctx, gone, b.prefix+".missing"))
	require.NoError(b.t, b.DeleteIndices(b.ctx, gone))
	require.NoError(b.t, b.DeleteIndices(b.ctx))
	if err := b.DeleteIndices(b.ctx, alias); err != nil {
		engineError(b.t, err)
	}
	list, err = b.Indices(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Len(b.t, list, 1)
	require.Equal(b.t, keep, list[0].Name)
}

func testSettings(b *bench) {
	a, c := b.create("a", 1, nil), b.create("b", 1, nil)
	require.NoError(b.t, b.PutSettings(b.ctx, map[string]any{"refresh_interval": "7s"}, a, c))
	require.NoError(b.t, b.PutSettings(b.ctx, map[string]any{"index": map[string]any{"number_of_replicas": 0}}, a))
	list, err := b.Indices(b.ctx, a, c)
	require.NoError(b.t, err)
	for _, i := range list {
		require.Equal(b.t, "7s", i.Settings["refresh_interval"])
	}
	err = b.PutSettings(b.ctx, map[string]any{"refresh_interval": nil}, b.prefix+".missing")
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	require.Error(b.t, b.PutSettings(b.ctx, map[string]any{"refresh_interval": nil}, b.prefix+".*"))
}

// testManyNames uses far more names than fit in a request line of 4096 bytes.
func testManyNames(b *bench) {
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("%s.%s-%02d", b.prefix, strings.Repeat("x", 120), i))
	}
	present := []string{names[3], names[30], names[59]}
	for _, n := range present {
		require.NoError(b.t, b.CreateIndex(b.ctx, n, upgrader.IndexBody{Settings: map[string]any{"number_of_replicas": 0}}))
		b.bulk(upgrader.BulkOp{Index: n, ID: "1", Source: json.RawMessage(`{}`)})
	}
	require.NoError(b.t, b.Refresh(b.ctx, names...))
	list, err := b.Indices(b.ctx, names...)
	require.NoError(b.t, err)
	require.Len(b.t, list, 3)
	stats, err := b.Stats(b.ctx, names...)
	require.NoError(b.t, err)
	require.Equal(b.t, present, slices.Sorted(maps.Keys(stats)))
	blocked, err := b.BlockWrites(b.ctx, names...)
	require.NoError(b.t, err)
	require.Equal(b.t, present, blocked)
	require.NoError(b.t, b.UnblockWrites(b.ctx, names...))
	for _, n := range present {
		b.bulk(upgrader.BulkOp{Index: n, ID: "2", Source: json.RawMessage(`{}`)})
	}
	require.NoError(b.t, b.DeleteIndices(b.ctx, names...))
	list, err = b.Indices(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Empty(b.t, list)
}

func testFlattened(b *bench) {
	mapping := object(b.t, `{"properties":{"data":{"properties":{"free":{"type":"flattened","ignore_above":100}}}}}`)
	index, template := b.prefix+".flat", upgrader.Template{
		Name: b.prefix + ".t", Patterns: []string{b.prefix + ".t-*"}, Body: upgrader.IndexBody{Mappings: mapping},
	}
	err := b.CreateIndex(b.ctx, index, upgrader.IndexBody{Mappings: mapping, Settings: map[string]any{"number_of_replicas": 0}})
	errTemplate := b.PutTemplate(b.ctx, template)
	if b.kind == devstack.Elasticsearch710 {
		require.ErrorContains(b.t, err, "no mapping type for flattened objects, which these fields need: data.free")
		require.ErrorContains(b.t, errTemplate, "data.free")
		return
	}
	require.NoError(b.t, err)
	require.NoError(b.t, errTemplate)
	info, err := b.Info(b.ctx)
	require.NoError(b.t, err)
	translated, err := elastic.TranslateMapping(mapping, info)
	require.NoError(b.t, err)
	want := elastic.CanonicalMapping(translated, info)

	list, err := b.Indices(b.ctx, index)
	require.NoError(b.t, err)
	require.Equal(b.t, want, list[0].Mapping)
	templates, err := b.Templates(b.ctx, template.Name)
	require.NoError(b.t, err)
	require.Equal(b.t, want, templates[0].Body.Mappings)
	b.bulk(upgrader.BulkOp{Index: index, ID: "1", Source: json.RawMessage(`{"data":{"free":{"a":{"b":1}}}}`)})
}

func testTemplates(b *bench) {
	priority := int64(7)
	put := upgrader.Template{
		Name: b.prefix + ".t", Patterns: []string{b.prefix + ".e-*-*"}, Priority: &priority,
		Body: upgrader.IndexBody{
			Settings: map[string]any{"number_of_shards": "1", "number_of_replicas": "0"},
			Mappings: object(b.t, someMapping),
			Aliases:  map[string]struct{}{b.prefix + ".e": {}},
		},
	}
	require.NoError(b.t, b.PutTemplate(b.ctx, put))
	get := func() upgrader.Template {
		list, err := b.Templates(b.ctx, b.prefix+".*")
		require.NoError(b.t, err)
		require.Len(b.t, list, 1)
		return list[0]
	}
	got := get()
	raw := got.Raw
	require.NotEmpty(b.t, raw)
	got.Raw = nil
	require.Equal(b.t, put, got)

	// Changed, and then put back unaltered from the engine's own rendering.
	changed := put
	changed.Body.Aliases, changed.Priority = nil, nil
	require.NoError(b.t, b.PutTemplate(b.ctx, changed))
	require.Empty(b.t, get().Body.Aliases)
	require.NoError(b.t, b.PutTemplate(b.ctx, upgrader.Template{Name: put.Name, Raw: raw}))
	require.JSONEq(b.t, string(raw), string(get().Raw))

	index := b.prefix + ".e-2023-2"
	b.bulk(upgrader.BulkOp{Index: index, ID: "1", Source: json.RawMessage(`{"id":"1"}`)})
	aliases, err := b.Aliases(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Equal(b.t, map[string][]string{b.prefix + ".e": {index}}, aliases)

	require.NoError(b.t, b.DeleteTemplate(b.ctx, put.Name))
	require.NoError(b.t, b.DeleteTemplate(b.ctx, put.Name))
	list, err := b.Templates(b.ctx, put.Name)
	require.NoError(b.t, err)
	require.Empty(b.t, list)
}
