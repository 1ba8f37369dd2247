package fleet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tracardi/tms/releases"
)

// AwkwardDocuments tells what Awkward wrote.
type AwkwardDocuments struct {
	Written int
	// Quarantine is how many of them cannot reach release 0.8.2 and must end in
	// quarantine: of two documents whose types contradict each other, and of
	// two with the same id in one target index, one each.
	Quarantine int
}

// oddity is one awkward document: changes to a generated one.
type oddity struct {
	resource string
	month    int // back from the current one
	id       string
	remove   []string // top-level fields
	set      map[string]any
}

// oddities lists the documents that exist in real tenants and that upgrade
// scripts stumble over. Every release gets those that its mapping can hold.
func oddities() []oddity {
	const gone = "no such key"
	return []oddity{
		{resource: "profile", id: "awkward-without-data", remove: []string{"data", "pii", "traits"}},
		{resource: "profile", id: "awkward-without-pii", remove: []string{"pii"}, set: map[string]any{"data.contact.email": "only@example.com", "data.pii": nil}},
		{resource: "profile", id: "awkward/with slash ünd 空", set: map[string]any{"data.contact.phone": nil, "data.contact.email": nil}},
		{resource: "profile", id: "awkward-empty-contact", set: map[string]any{"data.contact.phone": "", "data.contact.email": []any{"a@example.com", "b@example.com"}}},
		{resource: "profile", id: "awkward-null-key", set: map[string]any{"metadata." + gone: nil}},
		{resource: "profile", id: "awkward-null-data", set: map[string]any{"data": nil}},
		{resource: "event", id: "awkward-pii-name", set: map[string]any{"data.pii.name": "Jan Kowalski"}},
		{resource: "event", id: "awkward-without-data", remove: []string{"data"}},
		{resource: "event", id: "awkward-null-cost", set: map[string]any{"data.ec.order.cost.tax": nil, "data.ec.order.cost.shipping": 4.5}},
		{resource: "rule", id: "awkward-without-event", remove: []string{"event", "event_type"}},
		{resource: "session", id: "awkward-null-key", set: map[string]any{"metadata.time." + gone: nil}},
		{resource: "flow", id: "awkward-null-draft", set: map[string]any{"draft": nil}},
	}
}

// contradictions are pairs of which release 0.8.2 can hold only one. The custom
// metrics of 0.8.1 are flattened and hold any mixture of types, those of 0.8.2
// are mapped by what comes first; its profiles are cut by quarter.
func (t *Tenant) contradictions(profile releases.Resource) []oddity {
	var pairs []oddity
	if accepts(profile.Mapping, []string{"data", "metrics", "custom", "awkward"}, 1) {
		pairs = append(pairs,
			oddity{resource: "profile", id: "awkward-metric-number", set: map[string]any{"data.metrics.custom.awkward": 12}},
			oddity{resource: "profile", id: "awkward-metric-object", set: map[string]any{"data.metrics.custom.awkward": map[string]any{"value": 12}}},
		)
	}
	back := t.sameQuarter()
	if back == 0 {
		return pairs
	}
	pairs = append(pairs,
		oddity{resource: "profile", id: "awkward-twice", set: map[string]any{"aux.copy": "younger"}},
		oddity{resource: "profile", id: "awkward-twice", month: back, set: map[string]any{"aux.copy": "older"}},
	)
	if accepts(profile.Mapping, []string{"traits", "awkward"}, 1) {
		pairs = append(pairs,
			oddity{resource: "profile", id: "awkward-trait-number", set: map[string]any{"traits.awkward": 5}},
			oddity{resource: "profile", id: "awkward-trait-object", month: back, set: map[string]any{"traits.awkward": map[string]any{"level": 5}}},
		)
	}
	return pairs
}

// sameQuarter finds how many months back lies another partition of the quarter
// of the current month; 0 when there is none.
func (t *Tenant) sameQuarter() int {
	last := len(t.months) - 1
	if last == 0 || partition(releases.Quarterly, t.months[last]) != partition(releases.Quarterly, t.months[last-1]) {
		return 0
	}
	return 1
}

// Awkward writes the documents that real tenants hold and that nobody expects,
// in production. Writers leave them alone. With contradict it also writes pairs
// of which the next release can take only one.
func (t *Tenant) Awkward(ctx context.Context, contradict bool) (AwkwardDocuments, error) {
	resources, err := t.resources(t.release)
	if err != nil {
		return AwkwardDocuments{}, err
	}
	byKey := map[string]releases.Resource{}
	for _, res := range resources {
		byKey[res.Key] = res
	}
	list := oddities()
	var report AwkwardDocuments
	if profile, known := byKey["profile"]; known && contradict && profile.Partitioning == releases.Monthly {
		pairs := t.contradictions(profile)
		list = append(list, pairs...)
		report.Quarantine = len(pairs) / 2
	}
	for _, o := range list {
		res, ok := byKey[o.resource]
		if !ok {
			continue
		}
		if err := t.writeOddity(ctx, res, o); err != nil {
			return report, fmt.Errorf("awkward document %s of tenant %s: %w", o.id, t.cfg.Tenant, err)
		}
		report.Written++
	}
	return report, nil
}

func (t *Tenant) writeOddity(ctx context.Context, res releases.Resource, o oddity) error {
	month := len(t.months) - 1 - o.month
	serial := t.reserve([]draft{{slot: slot{res: res}}})[0]
	_, doc := t.generate(res, serial, t.months[month])
	s := &shape{mapping: res.Mapping, doc: doc}
	s.put(o.id, "id")
	for path, v := range o.set {
		s.putOdd(path, v)
	}
	for _, field := range o.remove {
		delete(doc, field)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	label := partition(res.Partitioning, t.months[month])
	w := write{indexName(Production, t.release.Prefix, t.named(t.release.Prefix), res.Base, label), o.id, raw}
	v, err := t.engine.single(ctx, w)
	if err != nil {
		return err
	}
	if !v.acknowledged() {
		return fmt.Errorf("%s: %d %s: %s", w.index, v.status, v.kind, v.reason)
	}
	t.history.commit(t.release.Version, ref{Production, res.Key, label, o.id}, state{source: raw}, true)
	return nil
}
