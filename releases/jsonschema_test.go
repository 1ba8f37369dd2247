package releases

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// validator is what an editor makes of a schema.
func validator(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	s, ok := Schema(file)
	require.True(t, ok)
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(file+".json", doc))
	compiled, err := c.Compile(file + ".json")
	require.NoError(t, err)
	return compiled
}

func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal(text, &v))
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return out
}

// What the loader takes the schema takes, and what an editor can see is wrong it
// refuses.
func TestSchemaIsTheLoaders(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"release", "migration"} {
		s := validator(t, file)
		found, err := fs.Glob(BuiltinFS(), "*/"+file+".yaml")
		require.NoError(t, err)
		require.Greater(t, len(found), 2)
		for _, name := range found {
			raw, err := fs.ReadFile(BuiltinFS(), name)
			require.NoError(t, err)
			require.NoError(t, s.Validate(asJSON(t, raw)), name)
		}
	}
	_, ok := Schema("mapping")
	require.False(t, ok)
	drafted, err := NewDraft("9.9", "099", &Release{Version: "9.8", Prefix: "098", Resources: []Resource{{Key: "a", Base: "x-a", Mapping: map[string]any{"dynamic": "strict"}}}}).Files()
	require.NoError(t, err)
	require.NoError(t, validator(t, "migration").Validate(asJSON(t, drafted["9.9/migration.yaml"].Data)))

	s := validator(t, "migration")
	step := func(op string) string {
		return "from: \"1.0\"\nto: \"1.1\"\nsteps:\n  person:\n    transform:\n      - " + op + "\n"
	}
	for name, text := range map[string]string{
		"operation":       step("{op: renam, field: a, to: b}"),
		"key":             step("{op: rename, fieldd: a, to: b}"),
		"missing":         step("{op: rename, field: a}"),
		"name with a dot": step("{op: rename, field: a, to: b.c}"),
		"path":            step("{op: remove, field: a..b}"),
		"choice":          step("{op: move, from: a, to: b, onto: merge}"),
		"format":          step("{op: date, field: a, to: rfc3339}"),
		"type":            step("{op: convert, field: a, to: date}"),
		"twice":           step("{op: wrap, field: a, under: [x, x]}"),
		"two kinds":       step("{op: route, to: x, by: y}"),
		"two tests":       step("{op: remove, field: a, when: {field: b, is: present, equals: 1}}"),
		"no test":         step("{op: remove, field: a, when: {field: b}}"),
		"no condition":    step("{op: drop_document, reason: x}"),
		"mode":            step("{op: remove, field: a, mode: test}"),
		"no reason":       step("{op: remove, field: a}") + "    drops: [{field: a}]\n",
		"no outcome":      step("{op: remove, field: a}") + "    examples: [{in: {}}]\n",
		"two outcomes":    step("{op: remove, field: a}") + "    examples: [{in: {}, out: {}, dropped: true}]\n",
		"unknown part":    "from: \"1.0\"\nto: \"1.1\"\nstep: {}\n",
		"no version":      "from: \"1.0\"\nto: next\n",
	} {
		require.Error(t, s.Validate(asJSON(t, []byte(text))), name)
		files := bundlesWith(map[string]string{"1.1/migration.yaml": text}).(fstest.MapFS)
		_, err := Load(files)
		require.Error(t, err, "%s: the loader takes what the schema refuses", name)
	}
	require.NoError(t, s.Validate(asJSON(t, []byte(step("{op: rename, field: a, to: b, when: {field: b.c, equals: 1}, mode: staging}")))))

	s = validator(t, "release")
	for name, resource := range map[string]string{
		"partitioning":       "{base: x, partitioning: day}",
		"replicas":           "{base: x, settings: {number_of_replicas: 1}}",
		"static partitioned": "{base: x, static: true, partitioning: month}",
		"no base":            "{static: true}",
		"base":               "{base: X}",
	} {
		require.Error(t, s.Validate(asJSON(t, []byte("version: \"1.0\"\nprefix: \"010\"\nresources:\n  a: "+resource+"\n"))), name)
	}
}
