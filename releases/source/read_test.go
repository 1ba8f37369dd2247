package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
)

// A tree of the shape of Tracardi's, of our own making: one resource of every
// kind. 9.1 follows 9.0, which lacks "visit" and has a monthly "log".
const (
	ownIndex = `
import os
from config import settings

class Index:
    def __init__(self, multi_index, index, mapping, static=False, single=False, partitioning=None):
        self.pattern = f"{index}-*-*" if multi_index else None

class Resource(metaclass=Single):
    def __init__(self):
        self.resources = {
            # a comment between entries
            "log": Index(multi_index=True, index='own-log', partitioning=settings.log_partitioning,
                         mapping="mappings/log.json"),
            "person": Index(multi_index=True, partitioning="quarter", index="own-person", mapping="mappings/log.json"),
            "rule": Index(multi_index=False, index="own-rule", mapping=None),
            "visit": Index(multi_index=True, index="own-visit", mapping="mappings/log.json"),
            "plugin": Index(multi_index=False, static=True, index="own-plugin", mapping="mappings/rule.json"),
            "licence": Index(multi_index=False, single=True, index="own-licence", mapping="mappings/rule.json"),
        }
`
	ownConfig = `
import os
class Elastic:
    def __init__(self, env):
        self.shards = env.get('SHARDS', "3")
        self.conf_shards = env['CONF'] if 'CONF' in env else "1"
        self.log_partitioning = env.get('LOG', 'month')
VERSION = os.environ.get('_V', '9.1')
`
	ownLog  = `{"index_patterns": ["%%TEMPLATE_PATTERN%%"], "template": {"settings": {"number_of_shards": %%SHARDS%%, "number_of_replicas": %%REPLICAS%%, "index.refresh_interval": "5s"}, "mappings": {"_meta": {"version": "%%VERSION%%", "name": "%%PREFIX%%"}, "dynamic": "strict", "properties": {"id": {"type": "keyword"}, "at": {"properties": {"day": {"type": "date", "index": true}}, "type": "object"}}}}}`
	ownRule = `{"settings": {"number_of_shards": %%CONF_SHARDS%%}, "mappings": {"_meta": {"version": "%%VERSION%%", "name": "x"}, "dynamic": false, "properties": {"id": {"type": "keyword"}, "free": {"type": "object", "enabled": false}}}, "aliases": {"%%ALIAS%%": {}}}`
	ownStep = `["words between steps",
		{"copy_index": {"from_index": "own-log", "to_index": "own-log", "multi": false, "script": null}},
		{"copy_index": {"from_index": "own-person", "to_index": "own-person", "multi": true, "script": "ctx._source.seen = 'staging';"}},
		{"copy_index": {"from_index": "own-person", "to_index": "own-person", "multi": true, "production": true, "script": "ctx._source.seen = 'production';"}},
		{"copy_index": {"from_index": "own-plugin", "to_index": "own-plugin", "multi": false, "script": null}},
		{"copy_index": {"from_index": "own-lost", "to_index": "own-lost", "multi": false, "script": null}}
	]`
)

func ownTree() fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		indexFile:                        file(ownIndex),
		configFile:                       file(ownConfig),
		versionFile:                      file("class Version(Base):\n    version: str\n    db_version: str = '09x'\n"),
		setupFile:                        file("from setuptools import setup\nsetup(name='own', version='9.1')\n"),
		setupDir + "/mappings/log.json":  file(ownLog),
		setupDir + "/mappings/rule.json": file(ownRule),
		setupDir + "/mappings/default-dynamic-index.json": file(ownRule),
		migrationsDir + "/090_to_09x.json":                file(ownStep),
		"LICENSE.md":                                      file("Own licence\n"),
	}
}

// before is release 9.0.
func before(t *testing.T) fs.FS {
	t.Helper()
	mapping := map[string]any{"dynamic": "strict", "properties": map[string]any{"id": map[string]any{"type": "keyword"}}}
	free := map[string]any{"dynamic": "false", "properties": map[string]any{"id": map[string]any{"type": "keyword"}}}
	d := releases.Draft{Version: "9.0", Prefix: "090", Resources: []releases.Resource{
		{Key: "log", Base: "own-log", Partitioning: releases.Monthly, Mapping: mapping},
		{Key: "old", Base: "own-old", Mapping: mapping},
		{Key: "person", Base: "own-person", Partitioning: releases.Monthly, Mapping: mapping},
		{Key: "rule", Base: "own-rule", Mapping: free},
	}}
	files, err := d.Files()
	require.NoError(t, err)
	return files
}

func TestRead(t *testing.T) {
	t.Parallel()
	known, err := releases.Load(before(t))
	require.NoError(t, err)
	got, err := Read(ownTree(), Options{Known: known.List()})
	require.NoError(t, err)
	require.Equal(t, "9.1", got.Version)
	require.Equal(t, "9.0", got.Previous)
	require.Equal(t, "LICENSE.md", got.Licence)

	_, r, err := releases.LoadAfter(got.Files, before(t))
	require.NoError(t, err)
	require.Equal(t, "09x", r.Prefix)
	kinds := map[string]releases.Partitioning{}
	for _, res := range r.Resources {
		kinds[res.Key] = res.Partitioning
	}
	require.Equal(t, map[string]releases.Partitioning{"log": "month", "person": "quarter", "rule": "", "visit": "month", "plugin": ""}, kinds)
	log, _ := r.Resource("log")
	require.Equal(t, map[string]any{"number_of_shards": "3", "refresh_interval": "5s"}, log.Settings)
	require.Equal(t, map[string]any{"day": map[string]any{"type": "date"}}, log.Mapping["properties"].(map[string]any)["at"].(map[string]any)["properties"])
	rule, _ := r.Resource("rule")
	require.Equal(t, "false", rule.Mapping["dynamic"])

	m := r.Migration
	require.Equal(t, []string{"log", "person", "rule"}, slices.Sorted(maps.Keys(m.Steps)))
	require.Equal(t, []releases.Op{
		{Kind: releases.OpPainless, Script: "ctx._source.seen = 'staging';", Mode: releases.InStaging},
		{Kind: releases.OpPainless, Script: "ctx._source.seen = 'production';", Mode: releases.InProduction},
	}, m.Steps["person"].Transform.Ops)
	require.Contains(t, m.Gone, "old")
	require.Equal(t, []string{
		"licence (own-licence) is shared by all tenants and therefore left out",
		"partitioned as the configuration says by default: log; installations that set it otherwise differ",
		"step to own-log corrected: its documents would end outside of the month partitions, under no alias",
		"step to own-plugin left out: it is static, the new release's installer fills it",
		"step own-lost to own-lost: 9.1 has no such index; left out",
		"person: months go to the quarter they belong to, not to that of the day of the upgrade",
		"the migration forgets rule, which both releases have: it is copied as it is",
		"raw Painless of Tracardi makes person: rewrite it as operations to have their content proven",
		"without a successor: old",
	}, got.Notes)
}

// One row per slip that a tree may have.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, from, to, wants string }{
		"not Python":          {indexFile, "class Index:", "class Index: {{{", "no Python"},
		"has to be executed":  {indexFile, "index='own-log'", "index=name('log')", "would have to be executed"},
		"interpolated":        {indexFile, "index='own-log'", "index=f'own-{x}'", "would have to be executed"},
		"no table":            {indexFile, "self.resources =", "self.other =", "no self.resources"},
		"unknown setting":     {configFile, "self.log_partitioning", "self.else_partitioning", "partitioned by log_partitioning"},
		"no index name":       {indexFile, "index='own-log', ", "", "has no index name"},
		"missing mapping":     {indexFile, "mappings/log.json", "mappings/none.json", "none.json"},
		"unknown placeholder": {setupDir + "/mappings/log.json", "%%REPLICAS%%", "%%OTHER%%", "unknown placeholder"},
		"mapping is no JSON":  {setupDir + "/mappings/rule.json", "{", "[", "rule.json"},
		"steps are no JSON":   {migrationsDir + "/090_to_09x.json", "[", "{", "090_to_09x.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known, err := releases.Load(before(t))
			require.NoError(t, err)
			tree := ownTree()
			tree[c.file] = &fstest.MapFile{Data: bytes.Replace(tree[c.file].Data, []byte(c.from), []byte(c.to), 1)}
			_, err = Read(tree, Options{Known: known.List()})
			require.ErrorContains(t, err, c.wants)
		})
	}
}

// A directory, one with the tree below it, a wheel and a source distribution
// give the same bundle.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "tree"), ownTree()))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "outer", "own-9.1"), ownTree()))
	var wheel, sdist bytes.Buffer
	z, g := zip.NewWriter(&wheel), gzip.NewWriter(&sdist)
	tape := tar.NewWriter(g)
	for name, f := range ownTree() {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write(f.Data)
		require.NoError(t, err)
		require.NoError(t, tape.WriteHeader(&tar.Header{Name: "own-9.1/" + name, Mode: 0o644, Size: int64(len(f.Data))}))
		_, err = tape.Write(f.Data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, tape.Close())
	require.NoError(t, g.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.whl"), wheel.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.tar.gz"), sdist.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.rar"), nil, 0o600))

	var first fstest.MapFS
	for _, name := range []string{"tree", "outer", "own.whl", "own.tar.gz"} {
		tree, err := Open(filepath.Join(dir, name))
		require.NoError(t, err, name)
		got, err := Read(tree, Options{})
		require.NoError(t, err, name)
		if first == nil {
			first = got.Files
		}
		require.Equal(t, first, got.Files, name)
	}
	for name, wants := range map[string]string{"own.rar": "neither", "none": "no such file", "tree/tracardi": "is it Tracardi's source?"} {
		_, err := Open(filepath.Join(dir, name))
		require.ErrorContains(t, err, wants)
	}
}

// What Tracardi's own migration would do wrong is said, and where a release
// keeps what leaves the engine.
func TestReadNamesSlipsAndTables(t *testing.T) {
	t.Parallel()
	known, err := releases.Load(before(t))
	require.NoError(t, err)
	tree := ownTree()
	tree[managerFile] = &fstest.MapFile{Data: []byte(`
class Manager:
    available_migrations = {
        # a comment
        ("090", "09x"): "080_to_090",
    }
    def indices(self, name):
        return fr"{self.old}.{name}-[0-9]{4}-[0-9]+"
`)}
	tree[tablesDir+"/table.py"] = &fstest.MapFile{Data: []byte("class OldTable(Base):\n    __tablename__ = 'old'\n\n# class RuleTable(Base):\n#     __tablename__ = 'rule'\n")}
	got, err := Read(tree, Options{Known: known.List()})
	require.NoError(t, err)
	require.Subset(t, got.Notes, []string{
		"Tracardi's own migration finds no partition at all (migration_manager.py line 8: a count in braces, within a formatted text): here every partition moves",
		"Tracardi's own migration takes 080_to_090.json for this way: corrected, 090_to_09x.json is taken",
		"in MySQL from this release on, where TMS puts nothing: old",
	})
	_, r, err := releases.LoadAfter(got.Files, before(t))
	require.NoError(t, err)
	require.Contains(t, r.Migration.Gone["old"], "the MySQL table old, which TMS does not fill")
}

// A release with the prefix of the one before it is a minor one: nothing moves.
func TestReadMinor(t *testing.T) {
	t.Parallel()
	first, err := Read(ownTree(), Options{})
	require.NoError(t, err)
	known, err := releases.Load(first.Files)
	require.NoError(t, err)
	tree := ownTree()
	tree[setupFile] = &fstest.MapFile{Data: []byte("setup(name='own', version='9.1.1-rc2')\n")}
	got, err := Read(tree, Options{Known: known.List()})
	require.NoError(t, err)
	require.Equal(t, "9.1.1", got.Version)
	require.Contains(t, got.Notes, "the tree calls itself 9.1.1-rc2: taken as 9.1.1, say --version when it is another one")
	require.Contains(t, got.Notes, "a minor release of 9.1: index names stay, and no document moves")
	_, r, err := releases.LoadAfter(got.Files, first.Files)
	require.NoError(t, err)
	require.Equal(t, "09x", r.Prefix)
	for key, step := range r.Migration.Steps {
		require.True(t, step.Transform.Empty(), key)
	}
}
