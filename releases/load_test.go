package releases

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// A small pair of releases; every test row breaks it in one way.
var smallBundles = map[string]string{
	"1.0/release.yaml": `version: "1.0"
prefix: 010
resources:
  person:
    base: x-person
    partitioning: month
    settings: {number_of_shards: 3, mapping: {total_fields: {limit: 2000}}}
  kept: {base: x-kept, settings: {number_of_shards: 1}}
  old: {base: x-old}
  plugin: {base: x-plugin, static: true}
`,
	"1.0/mappings/x-person.yaml": `dynamic: strict
_meta: {version: "010"}
properties:
  id: {type: keyword}
  mail: {type: keyword}
  note: {type: text}
  extra: {type: flattened}
  bag: {type: object, dynamic: "true"}
`,
	"1.0/mappings/x-kept.yaml":   "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  id: {type: keyword}\n",
	"1.0/mappings/x-old.yaml":    "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  id: {type: keyword}\n",
	"1.0/mappings/x-plugin.yaml": "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  id: {type: keyword}\n",
	"1.1/release.yaml": `version: "1.1"
prefix: 011
previous: "1.0"
resources:
  person: {base: x-person, partitioning: quarter}
  kept: {base: x-kept}
  fresh: {base: x-fresh}
  plugin: {base: x-plugin, static: true}
`,
	"1.1/mappings/x-person.yaml": `dynamic: strict
_meta: {version: "011"}
properties:
  id: {type: keyword}
  mail:
    properties:
      main: {type: keyword}
  extra: {type: flattened}
  bag: {type: object, dynamic: "true"}
`,
	"1.1/mappings/x-kept.yaml":   "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  id: {type: keyword}\n",
	"1.1/mappings/x-fresh.yaml":  "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  id: {type: keyword}\n",
	"1.1/mappings/x-plugin.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  id: {type: keyword}\n",
	"1.1/migration.yaml": `from: "1.0"
to: "1.1"
unchanged: [kept]
new: [fresh]
steps:
  person:
    transform:
      - {op: wrap, field: mail, under: main}
      - {op: remove, field: note}
    drops:
      - {field: note, reason: nobody reads it}
gone:
  old: no longer used
`,
}

func bundlesWith(changes map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, content := range smallBundles {
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	for name, content := range changes {
		if content == "" {
			delete(out, name)
			continue
		}
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return out
}

func TestLoad(t *testing.T) {
	t.Parallel()
	c, err := Load(bundlesWith(nil))
	require.NoError(t, err)
	require.Len(t, c.List(), 2)
	r, err := c.Get("1.0")
	require.NoError(t, err)
	person, ok := r.Resource("person")
	require.True(t, ok)
	require.Equal(t, Monthly, person.Partitioning)
	require.Equal(t, map[string]any{"number_of_shards": "3", "mapping": map[string]any{"total_fields": map[string]any{"limit": "2000"}}}, person.Settings,
		"settings as the engine reports them")
	require.Nil(t, r.Migration)
	next, err := c.ByPrefix("011")
	require.NoError(t, err)
	require.Equal(t, "kept", next.Migration.Steps["kept"].From)
	require.Len(t, next.Migration.Steps["person"].Transform.Ops, 2)
	require.Equal(t, []Drop{{Field: "note", Reason: "nobody reads it"}}, next.Migration.Steps["person"].Drops)
	require.Equal(t, map[string]string{"old": "no longer used"}, next.Migration.Gone)
	require.NotContains(t, next.Migration.Steps, "fresh")

	again, err := Load(bundlesWith(nil))
	require.NoError(t, err)
	require.Equal(t, r.Digest, again.List()[0].Digest)
	other, err := Load(bundlesWith(map[string]string{"1.0/mappings/x-kept.yaml": smallBundles["1.0/mappings/x-kept.yaml"] + "# comment\n"}))
	require.NoError(t, err)
	require.NotEqual(t, r.Digest, other.List()[0].Digest)
}

func TestLoadReadsJSONMappingsAndSeveralSources(t *testing.T) {
	t.Parallel()
	first, second := fstest.MapFS{}, fstest.MapFS{}
	for name, content := range smallBundles {
		if strings.HasPrefix(name, "1.0/") {
			first[name] = &fstest.MapFile{Data: []byte(content)}
		} else {
			second[name] = &fstest.MapFile{Data: []byte(content)}
		}
	}
	delete(second, "1.1/mappings/x-fresh.yaml")
	second["1.1/mappings/x-fresh.json"] = &fstest.MapFile{Data: []byte("{\n\t\"dynamic\": \"strict\",\n\t\"_meta\": {\"version\": \"011\"},\n\t\"properties\": {\"n\": {\"type\": \"keyword\", \"ignore_above\": 64}}\n}\n")}
	second["1.1/release.yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(smallBundles["1.1/release.yaml"], "{base: x-fresh}", "{base: x-fresh, mapping: mappings/x-fresh.json}", 1))}
	c, err := Load(first, second)
	require.NoError(t, err)
	fresh, _ := c.List()[1].Resource("fresh")
	raw, err := json.Marshal(fresh.Mapping)
	require.NoError(t, err)
	var want map[string]any
	require.NoError(t, json.Unmarshal(raw, &want))
	require.Equal(t, want, fresh.Mapping, "the mapping has the types encoding/json gives")
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	c, err := Builtin()
	require.NoError(t, err)
	versions := func(rs []*Release) (out []string) {
		for _, r := range rs {
			out = append(out, r.Version)
		}
		return out
	}
	require.Equal(t, []string{"0.7.4", "0.8.0", "0.8.1", "0.8.2"}, versions(c.List()))
	for in, want := range map[string]string{"0.8.1": "0.8.1", "0.8.1.3": "0.8.1", "0.8.2.0.1": ""} {
		r, err := c.Get(in)
		if want == "" {
			require.Error(t, err, in)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, r.Version)
	}
	for _, unknown := range []string{"0.9", "0.8", "0.8.10", "0.8.2-rc1", "0.8.1.", "", "0.8.1.x"} {
		_, err := c.Get(unknown)
		var u *UnknownReleaseError
		require.ErrorAs(t, err, &u, unknown)
		require.ErrorContains(t, err, "known are 0.7.4, 0.8.0, 0.8.1, 0.8.2")
	}
	_, err = c.ByPrefix("09x")
	require.ErrorContains(t, err, "074, 080, 08x, 0820")

	for _, p := range []struct {
		from, to string
		want     []string
	}{
		{"0.8.0", "0.8.2", []string{"0.8.1", "0.8.2"}}, {"0.7.4", "0.8.1", []string{"0.8.0", "0.8.1"}}, {"0.8.1.2", "0.8.2", []string{"0.8.2"}},
		{"0.8.2", "0.8.2", nil}, {"0.8.1", "0.8.1.3", nil},
	} {
		path, err := c.Path(p.from, p.to)
		require.NoError(t, err)
		require.Equal(t, p.want, versions(path))
	}
	_, err = c.Path("0.8.2", "0.8.1")
	var back *DowngradeError
	require.ErrorAs(t, err, &back)
	_, err = c.Path("0.7.3", "0.8.1")
	require.ErrorContains(t, err, `unknown release "0.7.3"`)
	_, err = c.Path("0.8.1", "1.0")
	require.ErrorContains(t, err, `unknown release "1.0"`)
}

// Sizes of the layout, which plans and shard budgets are computed from. 0.7.4
// is counted with production, which it does not have: it is nobody's target.
func TestBuiltinSizes(t *testing.T) {
	t.Parallel()
	c, err := Builtin()
	require.NoError(t, err)
	for i, want := range []struct{ resources, indices, shards, templates int }{{32, 64, 320, 10}, {35, 68, 84, 10}, {37, 72, 88, 12}, {39, 76, 104, 20}} {
		var indices, shards, templates int
		r := c.List()[i]
		for _, res := range r.Resources {
			times := 2
			if res.Static {
				times = 1
			}
			indices += times
			n := json.Number(res.Settings["number_of_shards"].(string))
			count, err := n.Int64()
			require.NoError(t, err)
			shards += times * int(count)
			if res.Partitioning != Unpartitioned {
				templates += times
			}
			require.NotContains(t, res.Settings, "number_of_replicas")
			require.Equal(t, r.Prefix, res.Mapping["_meta"].(map[string]any)["version"])
		}
		require.Equal(t, want.resources, len(r.Resources), r.Version)
		require.Equal(t, want.indices, indices, r.Version)
		require.Equal(t, want.shards, shards, r.Version)
		require.Equal(t, want.templates, templates, r.Version)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	replace := func(file, old, new string) map[string]string {
		if !strings.Contains(smallBundles[file], old) {
			t.Fatalf("%s has no %q", file, old)
		}
		return map[string]string{file: strings.Replace(smallBundles[file], old, new, 1)}
	}
	release, migration := "1.1/release.yaml", "1.1/migration.yaml"
	person := "1.1/mappings/x-person.yaml"
	for _, c := range []struct {
		name    string
		changes map[string]string
		want    string // a problem, with file and line
	}{
		{"gap", replace(release, `previous: "1.0"`, `previous: "0.9"`), `1.1/release.yaml:3: previous release 0.9 is not there`},
		{"two oldest", replace(release, "previous: \"1.0\"\n", ""), `1.1/release.yaml:1: release 1.1 names no previous one`},
		{"circle", replace("1.0/release.yaml", "prefix: 010", "prefix: 010\nprevious: \"1.1\""), `no release is the first`},
		{"prefix twice", replace(release, "prefix: 011", "prefix: 010"), `prefix 010 belongs to release 1.0 already`},
		{"directory", replace(release, `version: "1.1"`, `version: "1.2"`), `1.1/release.yaml:1: version 1.2 in a directory named "1.1"`},
		{"no version", replace(release, `version: "1.1"`, `version: latest`), `1.1/release.yaml:1: version "latest" is not of the form`},
		{"bad prefix", replace(release, "prefix: 011", "prefix: v_1"), `1.1/release.yaml:2: prefix "v_1"`},
		{"unknown key", replace(release, "prefix:", "prefixx: a\nprefix:"), `1.1/release.yaml:2: release: unknown key "prefixx"`},
		{"key twice", replace(release, "  kept: {base: x-kept}", "  kept: {base: x-kept}\n  kept: {base: x-kept}"), `1.1/release.yaml:7: resources: "kept" is stated twice, first in line 6`},
		{"base twice", replace(release, "{base: x-fresh}", "{base: x-kept}"), `1.1/release.yaml:7: resource fresh: base x-kept belongs to resource kept already`},
		{"partitioning", replace(release, "quarter", "hour"), `1.1/release.yaml:5: resource person: unknown partitioning "hour"`},
		{"static partitioned", replace(release, "static: true", "static: true, partitioning: month"), `a static resource cannot be partitioned`},
		{"replicas", replace(release, "{base: x-kept}", "{base: x-kept, settings: {number_of_replicas: 1}}"), `number_of_replicas is the operator's choice`},
		{"not a mapping", replace(release, "{base: x-kept}", "[x-kept]"), `1.1/release.yaml:6: resource kept must be a mapping`},
		{"mapping missing", map[string]string{person: ""}, `1.1/mappings/x-person.yaml: the file is missing`},
		{"stray mapping", map[string]string{"1.1/mappings/x-lost.yaml": "a: b\n"}, `1.1/mappings/x-lost.yaml: no resource refers to this file`},
		{"mapping of another name", replace(release, "{base: x-kept}", "{base: x-kept, mapping: mappings/x-fresh.yaml}"), `1.1/mappings/x-fresh.yaml: this is the mapping of x-kept`},
		{"meta of another release", replace(person, `"011"`, `"010"`), `1.1/mappings/x-person.yaml:2: _meta.version is 010`},
		{"mapping key", replace(person, "dynamic:", "dynamik: x\ndynamic:"), `1.1/mappings/x-person.yaml:1: mapping: unknown key "dynamik"`},
		{"field without type", replace(person, "main: {type: keyword}", "main: {ignore_above: 3}"), `1.1/mappings/x-person.yaml:7: field mail.main: needs a type`},
		{"dotted field", replace(person, "main: {type", "main.x: {type"), `must not be empty nor hold a dot`},
		{"broken yaml", map[string]string{person: "a: [1\nb: 2\n"}, `1.1/mappings/x-person.yaml:`},
		{"empty file", map[string]string{migration: "# nothing\n"}, `1.1/migration.yaml: the file is empty`},
		{"two documents", map[string]string{migration: smallBundles[migration] + "---\na: 1\n"}, `more than one YAML document`},
		{"no migration", map[string]string{migration: ""}, `1.1/migration.yaml: the file is missing`},
		{"migration without previous", map[string]string{"1.0/migration.yaml": "from: a\n"}, `1.0/migration.yaml: the release names no previous one`},
		{"from elsewhere", replace(migration, `from: "1.0"`, `from: "0.9"`), `1.1/migration.yaml:1: migration from "0.9"`},
		{"to elsewhere", replace(migration, `to: "1.1"`, `to: "1.2"`), `1.1/migration.yaml:2: migration to "1.2"`},
		{"unknown target", replace(migration, "new: [fresh]", "new: [fresh, gadget]"), `1.1/migration.yaml:4: release 1.1 has no resource "gadget"`},
		{"unknown source", replace(migration, "  person:\n", "  person:\n    from: people\n"), `1.1/migration.yaml:7: release 1.0 has no resource "people"`},
		{"static step", replace(migration, "[kept]", "[kept, plugin]"), `1.1/migration.yaml:3: plugin is static`},
		{"step twice", replace(migration, "[kept]", "[kept, person]"), `person is stated twice`},
		{"new but old", replace(migration, "unchanged: [kept]\nnew: [fresh]", "new: [fresh, kept]"), `1.1/migration.yaml:3: kept is listed as new but exists in release 1.0`},
		{"nothing said", replace(migration, "unchanged: [kept]\n", ""), `nothing is said about resource kept of release 1.1: list it under unchanged`},
		{"nothing said of a new one", replace(migration, "new: [fresh]\n", ""), `nothing is said about resource fresh of release 1.1: list it under new`},
		{"source forgotten", replace(migration, "gone:\n  old: no longer used\n", ""), `resource old of release 1.0 is neither migrated nor listed under gone`},
		{"gone without reason", replace(migration, "old: no longer used", "old:"), `gone: old needs a reason`},
		{"gone but migrated", replace(migration, "old: no longer used", "old: x\n  kept: x"), `1.1/migration.yaml:14: gone: kept is migrated`},
		{"gone but unknown", replace(migration, "old: no longer used", "old: x\n  older: x"), `1.1/migration.yaml:14: gone: release 1.0 has no resource "older"`},
		{"unknown op", replace(migration, "op: wrap", "op: rap"), `1.1/migration.yaml:8: step person: unknown operation "rap"`},
		{"unknown op key", replace(migration, "under: main", "under: main, deep: 1"), `1.1/migration.yaml:8: step person: wrap: unknown key "deep"`},
		{"op key missing", replace(migration, ", under: main", ""), `1.1/migration.yaml:8: step person: wrap needs under`},
		{"bad path", replace(migration, "field: note}", "field: no..te}"), `1.1/migration.yaml:9: step person: remove: field "no..te" is not a path`},
		{"field misspelt", replace(migration, "field: mail,", "field: male,"), `1.1/migration.yaml:8: step person: the source has no field male`},
		{"no place", replace(migration, "{op: remove, field: note}", "{op: rename, field: note, to: notes}"), `1.1/migration.yaml:9: step person: notes is not in the mapping of the target, which is strict: add it there, or put the value elsewhere`},
		{"wrong shape", replace(migration, "{op: remove, field: note}", "{op: move, from: note, to: extra}"), `extra would hold a single value, which is a flattened object`},
		{"field left over", replace(migration, "      - {op: remove, field: note}\n", ""), `step person: note is a single value in the source and not known to a strict mapping in the target`},
		{"shape changed", replace(migration, "      - {op: wrap, field: mail, under: main}\n", ""), `step person: mail is a single value in the source and an object in the target`},
		{"loss unstated", replace(migration, "    drops:\n      - {field: note, reason: nobody reads it}\n", ""), `1.1/migration.yaml:9: step person: note is lost: state it under drops`},
		{"drop without removal", replace(migration, "reason: nobody reads it}", "reason: x}\n      - {field: id, reason: x}"), `step person: drops id, but no operation removes it`},
		{"drop unknown", replace(migration, "reason: nobody reads it}", "reason: x}\n      - {field: it, reason: x}"), `step person: drops it, which the source does not have`},
		{"drop without reason", replace(migration, ", reason: nobody reads it", ""), `a drop needs a field and a reason`},
		{"condition", replace(migration, "field: note}", "field: note, when: {field: id, is: large}}"), `unknown test "large"`},
		{"condition on nothing", replace(migration, "field: note}", "field: note, when: {field: idd, is: present}}"), `the source has no field idd; did you mean id?`},
		{"odd number", replace(migration, "- {op: remove, field: note}", "- {op: remove, field: note}\n      - {op: set, field: bag.x, value: 0x10}"), `"0x10" is not a number in JSON`},
		{"alias", replace(migration, "- {op: remove, field: note}", "- &a {op: remove, field: note}\n      - *a"), `operation must be a mapping`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(bundlesWith(c.changes))
			var refused *BundleError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestLoadReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := Load(bundlesWith(map[string]string{
		"1.0/mappings/x-old.yaml": "",
		"1.1/release.yaml":        strings.Replace(smallBundles["1.1/release.yaml"], "quarter", "hour", 1),
		"1.1/migration.yaml":      strings.Replace(smallBundles["1.1/migration.yaml"], "op: wrap", "op: rap", 1),
	}))
	var refused *BundleError
	require.True(t, errors.As(err, &refused))
	var files []string
	for _, p := range refused.Problems {
		files = append(files, p.File)
	}
	require.True(t, slices.IsSorted(files))
	require.Equal(t, []string{"1.0/mappings/x-old.yaml", "1.1/migration.yaml", "1.1/release.yaml"}, slices.Compact(files))
	_, err = Load(fstest.MapFS{})
	require.ErrorContains(t, err, "no releases in here")
}
