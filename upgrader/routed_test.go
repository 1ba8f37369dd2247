package upgrader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// people are two releases: the second keeps robots in a resource of their own.
var people = map[string]string{
	"1.0/release.yaml":           "version: \"1.0\"\nprefix: 010\nresources:\n  person: {base: x-person, partitioning: month, settings: {number_of_shards: 2}}\n",
	"1.0/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  kind: {type: keyword}\n  name: {type: keyword}\n  odd: {type: keyword}\n",
	"1.1/release.yaml":           "version: \"1.1\"\nprefix: 011\nprevious: \"1.0\"\nresources:\n  person: {base: x-person, partitioning: quarter, settings: {number_of_shards: 1}}\n  robot: {base: x-robot, settings: {number_of_shards: 1}}\n",
	"1.1/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  name: {properties: {full: {type: keyword}}}\n  odd: {type: keyword}\n",
	"1.1/mappings/x-robot.yaml":  "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  name: {properties: {full: {type: keyword}}}\n  model: {type: keyword}\n  odd: {type: integer}\n",
	"1.1/migration.yaml": `from: "1.0"
to: "1.1"
steps:
  person:
    transform:
      - {op: wrap, field: name, under: full}
      - {op: route, to: robot, when: {field: kind, equals: robot}}
      - {op: remove, field: kind}
    drops:
      - {field: kind, reason: they are persons}
  robot:
    from: person
    transform:
      - {op: rename, field: kind, to: model}
      - {op: convert, field: odd, to: integer}
`,
}

// crowd is a tenant of people 1.0 that is written to, and what was acknowledged.
type crowd struct {
	b      *bundle
	id     string
	mu     sync.Mutex
	docs   map[string]map[string]any // by id
	months []string
}

func (b *bundle) crowd() *crowd { return b.crowdOf(people, "2023-1", "2023-2") }

// crowdOf is a tenant of release 1.0 of a bundle whose first resource is
// x-person, with indices for some partitions.
func (b *bundle) crowdOf(bundles map[string]string, partitions ...string) *crowd {
	b.t.Helper()
	files := fstest.MapFS{}
	for name, content := range bundles {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	var err error
	b.catalogue, err = releases.Load(files)
	require.NoError(b.t, err)
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	c := &crowd{b: b, id: devtest.Prefix(b.t), docs: map[string]map[string]any{}, months: partitions}
	r, err := b.catalogue.Get("1.0")
	require.NoError(b.t, err)
	for _, mode := range []string{"", "prod-"} {
		alias := mode + c.id + ".x-person"
		body := upgrader.IndexBody{Settings: map[string]any{"number_of_shards": 2, "number_of_replicas": 0}, Mappings: r.Resources[0].Mapping, Aliases: map[string]struct{}{alias: {}}}
		require.NoError(b.t, b.engine.PutTemplate(b.t.Context(), upgrader.Template{Name: mode + "template.010." + c.id + ".x-person", Patterns: []string{mode + "010." + c.id + ".x-person-*-*"}, Body: body}))
		for _, month := range c.months {
			require.NoError(b.t, b.engine.CreateIndex(b.t.Context(), mode+"010."+c.id+".x-person-"+month, upgrader.IndexBody{}))
		}
	}
	b.register(c.id, "1.0")
	return c
}

// write stores document n in one of its shapes, or deletes it; refused writes
// are not remembered.
func (c *crowd) write(ctx context.Context, n, shape int) error {
	id := fmt.Sprintf("doc-%d", n)
	doc := map[string]any{"name": fmt.Sprintf("name %d %d", n, shape)}
	switch {
	case shape%3 == 1:
		doc["kind"], doc["odd"] = "robot", fmt.Sprint(shape)
	case shape%3 == 2:
		doc["kind"] = "person"
	}
	op := upgrader.BulkOp{Index: "010." + c.id + ".x-person-" + c.months[n%2], ID: id}
	if shape%7 == 6 {
		op.Delete = true
	} else {
		raw, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		op.Source = raw
	}
	return c.put(ctx, op, doc)
}

// writing performs write 0, 1, 2 …, 500 a second at most, and is over when stop
// returns. A write that fails, other than by being refused, fails the test.
func (c *crowd) writing(write func(ctx context.Context, n int) error) (stop func()) {
	ctx, cancel := context.WithCancel(c.b.t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			if err := write(ctx, n); err != nil && ctx.Err() == nil {
				c.b.t.Errorf("write %d: %v", n, err)
				return
			}
			<-tick.C
		}
	})
	stop = func() {
		cancel()
		loop.Wait()
	}
	c.b.t.Cleanup(stop)
	return stop
}

// put performs one write, and remembers the document when it was taken.
func (c *crowd) put(ctx context.Context, op upgrader.BulkOp, doc map[string]any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers, err := c.b.engine.Bulk(ctx, []upgrader.BulkOp{op})
	if err != nil || !answers[0].OK {
		return err
	}
	if delete(c.docs, op.ID); !op.Delete {
		c.docs[op.ID] = doc
	}
	return nil
}

// expect compares both targets with what was acknowledged.
func (c *crowd) expect() {
	t := c.b.t
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	people, robots := map[string]string{}, map[string]string{}
	for id, doc := range c.docs {
		if doc["kind"] == "robot" {
			robots[id] = fmt.Sprintf(`{"model":"robot","name":{"full":%q},"odd":%s}`, doc["name"], doc["odd"])
		} else {
			people[id] = fmt.Sprintf(`{"name":{"full":%q}}`, doc["name"])
		}
	}
	require.Equal(t, people, c.holds("011."+c.id+".x-person-2023-q1"))
	require.Equal(t, robots, c.holds("011."+c.id+".x-robot"))
}

// holds are the documents of an index of the new version, by id; stands, those
// of a partition of the old one.
func (c *crowd) holds(index string) map[string]string { return c.documents(index, 1) }

func (c *crowd) stands(partition string) map[string]string {
	return c.documents("010."+c.id+".x-person-"+partition, 2)
}

func (c *crowd) documents(index string, shards int) map[string]string {
	t := c.b.t
	t.Helper()
	require.NoError(t, c.b.engine.Refresh(t.Context(), index))
	out := map[string]string{}
	for shard := range shards {
		docs, err := c.b.engine.Page(t.Context(), stream.PageRequest{Index: index, Shard: shard, From: -1, To: 1 << 40, Size: 10000})
		require.NoError(t, err)
		for _, d := range docs {
			canonical, err := releases.CanonicalJSON(nil, d.Source)
			require.NoError(t, err)
			out[d.ID] = string(canonical)
		}
	}
	return out
}

// writeToNew writes to both resources of the new version, and returns two
// persons that it has made a robot of, and updated, and a robot that it deleted.
func (c *crowd) writeToNew() (ids [3]string) {
	t := c.b.t
	t.Helper()
	person, robot := "011."+c.id+".x-person-2023-q1", "011."+c.id+".x-robot"
	doc := func(index, id, source string) upgrader.BulkOp {
		return upgrader.BulkOp{Index: index, ID: id, Source: json.RawMessage(source)}
	}
	persons := slices.Sorted(maps.Keys(c.holds(person)))
	ids = [3]string{persons[0], persons[1], slices.Sorted(maps.Keys(c.holds(robot)))[0]}
	c.b.bulk(
		upgrader.BulkOp{Index: person, ID: ids[0], Delete: true}, doc(robot, ids[0], `{"model":"robot","name":{"full":"made"},"odd":7}`),
		doc(person, ids[1], `{"name":{"full":"updated"}}`), doc(robot, ids[1], `{"model":"robot","name":{"full":"of the same id"}}`),
		upgrader.BulkOp{Index: robot, ID: ids[2], Delete: true},
		doc(person, "new-person", `{"name":{"full":"new person"}}`),
		doc(robot, "new-robot", `{"model":"robot","name":{"full":"new robot"},"odd":5}`),
		doc(robot, "toaster", `{"model":"toaster","name":{"full":"no route leads here"}}`),
	)
	return ids
}

// expectBack looks for what became of writeToNew in the old version.
func (c *crowd) expectBack(rollout string, ids [3]string) {
	t := c.b.t
	t.Helper()
	have := map[string]string{}
	for _, partition := range c.months {
		for id, doc := range c.stands(partition) {
			require.Empty(t, have[id], "%s stands twice", id)
			have[id] = doc
		}
	}
	require.JSONEq(t, `{"kind":"robot","name":"made","odd":"7"}`, have[ids[0]])
	require.Contains(t, have[ids[1]], `"name":"updated"`)
	require.NotContains(t, have[ids[1]], "robot")
	require.Empty(t, have[ids[2]])
	require.JSONEq(t, `{"name":"new person"}`, have["new-person"])
	require.JSONEq(t, `{"kind":"robot","name":"new robot","odd":"5"}`, have["new-robot"])
	require.Empty(t, have["toaster"])
	require.Equal(t, 2, c.b.aside(rollout, c.id), "the toaster, and the robot with a person's id")

	// The judge of the next upgrade knows of it.
	c.docs[ids[0]] = map[string]any{"kind": "robot", "name": "made", "odd": "7"}
	c.docs[ids[1]] = map[string]any{"name": "updated"}
	delete(c.docs, ids[2])
	c.docs["new-person"] = map[string]any{"name": "new person"}
	c.docs["new-robot"] = map[string]any{"kind": "robot", "name": "new robot", "odd": "5"}
}

// Documents of one source go into two resources while writers make persons
// robots and back, and delete them: each ends where it belongs, and nowhere
// else. A rollback leaves the old version as it was, and forth again is as
// before.
func TestRoutedDocuments(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	c := b.crowd()
	for n := range 300 {
		require.NoError(t, c.write(t.Context(), n, n%6))
	}
	b.worker(b.engine)
	stop := c.writing(func(ctx context.Context, n int) error { return c.write(ctx, (n*37)%320, n) })
	run := func() *upgrader.Rollout {
		r, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "1.1", Options: upgrader.Options{Tenants: []string{c.id}}, Caller: "test"})
		require.NoError(t, err)
		r = b.ended(r.ID)
		require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
		return r
	}
	first := run()
	stop()
	c.expect()
	for _, ip := range first.Tenants[0].Proof.Indices {
		require.Equal(t, ip.SourceDocs-ip.Quarantined, ip.TargetDocs, ip.Target)
	}
	require.Contains(t, fmt.Sprint(first.Tenants[0].Record.Notes), "for which kind is robot go to robot")

	wrote := c.writeToNew()
	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(first.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	c.expectBack(first.ID, wrote)
	for n := range 40 { // many of them change sides
		require.NoError(t, c.write(t.Context(), n, n%3+1))
	}
	run()
	c.expect()
}
