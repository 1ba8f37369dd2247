package releases_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
)

// parallelCalls keeps the engine busy without queueing at its master, which
// creates some 25 indices a second at best.
const parallelCalls = 4

// docsPerResource are generated for every step.
const docsPerResource = 30

// fixture is every index of the built-in releases, with the real mappings.
type fixture struct {
	engine    *engine
	prefix    string
	catalogue *releases.Catalogue
}

func (f *fixture) name(r *releases.Release, key string) string {
	return f.prefix + "-" + r.Prefix + "-" + key
}

// newFixture also proves that the engine accepts every built-in mapping.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	c, err := releases.Builtin()
	require.NoError(t, err)
	f := &fixture{engine: newEngine(t), prefix: newPrefix(t), catalogue: c}
	f.each(t, func(t failer, r *releases.Release, res releases.Resource) {
		f.engine.create(t, f.name(r, res.Key), res.Mapping, res.Settings)
	})
	return f
}

// each runs do for all resources, some at a time. A failure ends do alone.
func (f *fixture) each(t *testing.T, do func(failer, *releases.Release, releases.Resource)) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(parallelCalls)
	for _, r := range f.catalogue.List() {
		for _, res := range r.Resources {
			g.Go(func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("%s %s: %v", r.Version, res.Key, p)
					}
				}()
				do(panicking{}, r, res)
				return nil
			})
		}
	}
	require.NoError(t, g.Wait())
}

// panicking is a failer for goroutines that are not the test's own.
type panicking struct{}

func (panicking) Helper() {}

func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// What is valid in the source is accepted by the target, and is what Go says
// it is: for every resource of every built-in migration, and for the two
// migrations fused into one.
func TestBuiltinMigrations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	allowCompilations(t, f.engine)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	stored := map[string][][]byte{} // index -> documents it took
	f.each(t, func(t failer, r *releases.Release, res releases.Resource) {
		index := f.name(r, res.Key)
		rng := rand.New(rand.NewPCG(seed, uint64(len(index))))
		docs := make([][]byte, docsPerResource)
		for i := range docs {
			doc := genMapped(rng, res.Mapping, 0)
			raw, err := releases.EncodeDoc(doc)
			if err != nil {
				t.Fatalf("%v", err)
			}
			docs[i] = raw
		}
		for i, problem := range f.engine.index(t, index, ownIDs(r), docs) {
			if problem != "" {
				t.Fatalf("the generator made %s: %s", docs[i], problem)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		stored[index] = docs
	})
	f.each(t, func(t failer, r *releases.Release, res releases.Resource) {
		if r.Migration == nil {
			return
		}
		step, ok := r.Migration.Steps[res.Key]
		if !ok {
			return
		}
		previous, err := f.catalogue.Get(r.Previous)
		if err != nil {
			t.Fatalf("%v", err)
		}
		f.migrate(t, previous, step.From, f.name(r, res.Key), stored, step.Transform)
		if before, ok := stepTo(previous, step.From); ok {
			oldest, _ := f.catalogue.Get(previous.Previous)
			f.migrate(t, oldest, before.From, f.name(r, res.Key), stored, before.Transform.Then(step.Transform))
		}
	})
}

func stepTo(r *releases.Release, key string) (releases.Step, bool) {
	if r.Migration == nil {
		return releases.Step{}, false
	}
	s, ok := r.Migration.Steps[key]
	return s, ok
}

// ownIDs are those of the documents made for a release, in every index.
func ownIDs(r *releases.Release) []string { return number(r.Prefix+"-", docsPerResource) }

func (f *fixture) migrate(t failer, previous *releases.Release, key, to string, stored map[string][][]byte, transform releases.Transform) {
	t.Helper()
	from, ids := f.name(previous, key), ownIDs(previous)
	result := f.engine.reindex(t, from, to, ids, transform)
	if len(result.Failures) > 0 {
		t.Fatalf("%s: %s", to, result.Failures)
	}
	if result.Total != docsPerResource || result.Noops != 0 {
		t.Fatalf("%s: %+v", to, result)
	}
	compare(t, transform, ids, stored[from], f.engine.documents(t, to, ids))
}

// genMapped makes a document that a mapping accepts.
func genMapped(r *rand.Rand, mapping map[string]any, depth int) map[string]any {
	out := map[string]any{}
	props, _ := mapping["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		if r.IntN(10) < 3 {
			continue
		}
		field := props[name].(map[string]any)
		if r.IntN(12) == 0 {
			out[name] = nil
			continue
		}
		if _, nested := field["properties"]; nested {
			out[name] = genMapped(r, field, depth+1)
			continue
		}
		out[name] = genField(r, field)
	}
	if _, stated := mapping["dynamic"]; !stated && depth > 0 && r.IntN(10) == 0 {
		out["never_mapped"] = nil // inherited strictness lets a null pass
	}
	return out
}

func genField(r *rand.Rand, field map[string]any) any {
	switch kind := field["type"]; {
	case kind == "flattened":
		return pick[any](r, map[string]any{}, map[string]any{"a": "x", "b": map[string]any{"c": 1.5, "d": []any{"y", nil, "z"}}})
	case field["enabled"] == false:
		return pick[any](r, "anything", map[string]any{"x": []any{map[string]any{"y": 1}}}, []any{1, "mixed", nil})
	case kind == "object":
		return pick[any](r, map[string]any{}, map[string]any{"text": word(r), "count": r.IntN(100), "deep": map[string]any{"list": []any{"a", "b"}}})
	case kind == "nested":
		return []any{map[string]any{}}
	case kind == "geo_point":
		return map[string]any{"lat": 52.5, "lon": 13.4}
	}
	if r.IntN(5) == 0 && field["type"] != "binary" {
		return []any{genLeaf(r, field), genLeaf(r, field)}
	}
	return genLeaf(r, field)
}

func genLeaf(r *rand.Rand, field map[string]any) any {
	switch field["type"] {
	case "date":
		return pick[any](r, "2023-02-15T10:11:12.123456", "2023-02-15", 1676455872000, "2023-02-15T10:11:12+01:00")
	case "float", "double", "half_float":
		return pick[any](r, 1.5, 3, -0.25, "2.5", 1e3)
	case "integer", "long", "byte":
		return pick[any](r, 7, -7, "12", 0)
	case "boolean":
		return pick[any](r, true, false, "true")
	case "binary":
		return "aGFsbG8="
	}
	return pick[any](r, word(r), word(r), 42, true, strings.Repeat("long ", 30))
}

func word(r *rand.Rand) string {
	return pick(r, "", "Grüße", "ann@example.com", "+48 123 456", "😀", "a\"b\\c", "two words")
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// awkward documents exist in real tenants. None may stop the copy of the
// others, none may be lost unseen: it is migrated, or refused by the target on
// its own (which is what quarantine is for).
var awkward = []struct {
	to, key string
	in      string
	want    string // canonical form after the migration
	refused string // why the target refuses it; "" when it must not
}{
	{"0.8.1", "profile", `{"id":"no pii"}`, `{"id":"no pii"}`, ""},
	{"0.8.1", "profile", `{"id":"null","pii":null}`, `{"id":"null"}`, ""},
	{"0.8.1", "profile", `{"pii":{"name":null,"email":null,"lost":null}}`, `{}`, ""},
	{"0.8.1", "profile", `{"pii":{"name":"Ann","surname":"Lee","email":"","telephone":"1","birthDate":"1990-01-02","facebook":"f","twitter":"t","whatsapp":"w","other":{"fax":"2"}},"traits":{"private":{"a":1},"public":{}}}`,
		`{"data":{"contact":{"app":{"other":{"fax":"2"},"twitter":"t","whatsapp":"w"},"email":"","phone":"1"},"media":{"social":{"facebook":"f","twitter":"t"}},"pii":{"birthday":"1990-01-02","firstname":"Ann","lastname":"Lee","name":"Lee"}},"traits":{"private":{"a":1},"public":{}}}`, ""},
	{"0.8.1", "profile", `{"pii":[{"name":"Ann"},{"name":"Bea"}]}`, `{"pii":[{"name":"Ann"},{"name":"Bea"}]}`, "strict_dynamic_mapping_exception"},
	{"0.8.1", "profile", `{"pii.email":"dotted@example.com"}`, `{"pii.email":"dotted@example.com"}`, "strict_dynamic_mapping_exception"},
	{"0.8.1", "rule", `{"id":"no event","name":"x"}`, `{"id":"no event","name":"x"}`, ""},
	{"0.8.1", "rule", `{"event":null}`, `{}`, ""},
	{"0.8.1", "rule", `{"event":{"type":null}}`, `{}`, ""},
	{"0.8.1", "rule", `{"event":{"type":["a","b"]}}`, `{"event_type":{"id":["a","b"],"name":["a","b"]}}`, ""},
	{"0.8.1", "rule", `{"event":{"type":"page-view"}}`, `{"event_type":{"id":"page-view","name":"page-view"}}`, ""},
	{"0.8.1", "event-to-profile", `{"event_type":null}`, `{"event_type":null}`, ""},
	{"0.8.1", "event-to-profile", `{"event_type":"buy"}`, `{"event_type":{"id":"buy","name":"buy"}}`, ""},
	{"0.8.1", "event-management", `{"index_enabled":false}`, `{"enabled":false}`, ""},
	{"0.8.1", "session", `{"context":null}`, `{"context":null}`, ""},
	{"0.8.1", "session", `{"context":{"browser":"Firefox"}}`, `{"context":{"browser":"Firefox"}}`, ""},
	{"0.8.1", "session", `{"context":{"browser":{"local":{"browser":{"name":{"odd":1}},"device":{"platform":"Linux"}}}}}`,
		`{"context":{"browser":{"local":{"browser":{"name":{"odd":1}},"device":{"platform":"Linux"}}}},"os":{"name":"Linux"}}`, ""},
	{"0.8.2", "profile", `{"id":"no data"}`, `{"id":"no data"}`, ""},
	{"0.8.2", "profile", `{"data":null}`, `{"data":null}`, ""},
	{"0.8.2", "profile", `{"data":{"contact":{"email":null},"pii":{"name":null},"devices":null,"unknown":null}}`, `{"data":{"contact":{"email":null},"devices":null,"pii":{},"unknown":null}}`, ""},
	{"0.8.2", "profile", `{"data":{"contact":{"email":"","phone":["1","2"]},"pii":{"name":"Ann Lee"},"devices":{"names":["a"]}}}`,
		`{"data":{"contact":{"email":{"main":""},"phone":{"main":["1","2"]}},"devices":{"other":["a"]},"pii":{"display_name":"Ann Lee"}}}`, ""},
	{"0.8.2", "profile", `{"data":{"metrics":{"custom":{"size":1}}}}`, `{"data":{"metrics":{"custom":{"size":1}}}}`, ""},
	{"0.8.2", "profile", `{"data":{"metrics":{"custom":{"size":"large"}}}}`, `{"data":{"metrics":{"custom":{"size":"large"}}}}`, "mapper_parsing_exception"},
	{"0.8.2", "profile", `{"data":{"metrics":{"custom":{"size":{"w":1}}}}}`, `{"data":{"metrics":{"custom":{"size":{"w":1}}}}}`, "mapper_parsing_exception"},
	{"0.8.2", "profile", `{"data":{"contact.email":"dotted@example.com"}}`, `{"data":{"contact.email":"dotted@example.com"}}`, "mapper_parsing_exception"},
	{"0.8.2", "event", `{"data":{"pii":{"name":"Ann"},"contact":{"email":"a@b.c"}}}`, `{"data":{"contact":{"email":{"main":"a@b.c"}},"pii":{"display_name":"Ann"}}}`, ""},
	{"0.8.2", "event", `{"data":{"ec":{"order":{"income":{"revenue":10.50},"cost":{"tax":1,"shipping":2,"discount":null,"other":0}}}}}`,
		`{"aux":{"ec":{"order":{"cost":{"other":0,"shipping":2,"tax":1}}}},"data":{"ec":{"order":{"cost":{},"income":{"value":10.5}}}}}`, ""},
	{"0.8.2", "event", `{"aux":{"mine":1},"data":{"ec":{"order":{"income":{"revenue":10,"value":9}}}}}`,
		`{"aux":{"ec":{"order":{"income":{"revenue":10}}},"mine":1},"data":{"ec":{"order":{"income":{"value":9}}}}}`, ""},
	{"0.8.2", "event", `{"data":{"ec":{"order":[{"cost":{"tax":1}},{"cost":{"tax":2}}]}}}`, `{"data":{"ec":{"order":[{"cost":{"tax":1}},{"cost":{"tax":2}}]}}}`, "strict_dynamic_mapping_exception"},
	{"0.8.2", "event", `{"aux":[{"mine":1}],"data":{"ec":{"order":{"cost":{"tax":1}}}}}`, `{"aux":[{"mine":1}],"data":{"ec":{"order":{"cost":{"tax":1}}}}}`, "strict_dynamic_mapping_exception"},
	{"0.8.2", "entity", `{"id":"no time"}`, `{"id":"no time"}`, ""},
	{"0.8.2", "entity", `{"timestamp":null}`, `{}`, ""},
	{"0.8.2", "entity", `{"timestamp":"2023-02-15T10:11:12"}`, `{"metadata":{"time":{"create":"2023-02-15T10:11:12","insert":"2023-02-15T10:11:12"}}}`, ""},
	{"0.8.2", "event-reshaping", `{"mapping":{"a":[1]},"reshaping":{"b":2}}`, `{"reshaping":{"b":2}}`, ""},
}

func TestAwkwardDocuments(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	e := newEngine(t)
	prefix := newPrefix(t)
	allowCompilations(t, e)
	byTarget := map[[2]string][]int{}
	for i, a := range awkward {
		key := [2]string{a.to, a.key}
		byTarget[key] = append(byTarget[key], i)
	}
	for key, rows := range byTarget {
		t.Run(key[0]+" "+key[1], func(t *testing.T) {
			t.Parallel()
			r, err := c.Get(key[0])
			require.NoError(t, err)
			step := r.Migration.Steps[key[1]]
			from, _ := mustGet(t, c, r.Previous).Resource(step.From)
			to, _ := r.Resource(key[1])
			names := map[string]string{}
			for name, mapping := range map[string]map[string]any{"from": from.Mapping, "script": {"enabled": false}, "to": to.Mapping} {
				names[name] = fmt.Sprintf("%s-%s-%s-%s", prefix, r.Prefix, key[1], name)
				e.create(t, names[name], mapping, nil)
			}
			var docs, migrated [][]byte
			for _, i := range rows {
				docs = append(docs, []byte(awkward[i].in))
				doc, err := releases.DecodeDoc([]byte(awkward[i].in))
				require.NoError(t, err)
				require.NoError(t, step.Transform.Apply(doc))
				require.Equal(t, awkward[i].want, string(releases.Canonical(nil, doc)), awkward[i].in)
				raw, err := releases.EncodeDoc(doc)
				require.NoError(t, err)
				migrated = append(migrated, raw)
			}
			ids := number("", len(docs))
			for i, problem := range e.index(t, names["from"], ids, docs) {
				require.Empty(t, problem, "the source must take %s", docs[i])
			}
			// The script goes through for all of them, whatever the target says.
			require.Empty(t, e.reindex(t, names["from"], names["script"], ids, step.Transform).Failures)
			compare(t, step.Transform, ids, docs, e.documents(t, names["script"], ids))
			for i, problem := range e.index(t, names["to"], ids, migrated) {
				if want := awkward[rows[i]].refused; want == "" {
					require.Empty(t, problem, "%s", migrated[i])
				} else {
					require.Contains(t, problem, want, "%s", migrated[i])
				}
			}
		})
	}
}

func mustGet(t *testing.T, c *releases.Catalogue, version string) *releases.Release {
	t.Helper()
	r, err := c.Get(version)
	require.NoError(t, err)
	return r
}
