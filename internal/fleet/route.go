package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tracardi/tms/releases"
)

// copyOf is a document as it was written in the shape of one release.
type copyOf struct {
	ref     ref
	states  []state
	release string
}

// route leads documents from the release that they were written in to another.
type route struct {
	from *releases.Release
	path []*releases.Release
}

func (t *Tenant) route(from, to string) (route, error) {
	first, err := t.cfg.Catalogue.Get(from)
	if err != nil {
		return route{}, err
	}
	path, err := t.cfg.Catalogue.Path(from, to)
	if err != nil {
		return route{}, err
	}
	return route{first, path}, nil
}

// leg is what becomes of the documents of one resource and partition.
type leg struct {
	res        releases.Resource // of the target
	label      string            // partition of the target
	known      bool              // label follows from the source
	transforms []releases.Transform
	// bases are the index names on the way, without mode, prefix and tenant:
	// what a quarantine may call the source of a document.
	bases []string
}

// walk follows a resource; ok is false where it has no successor.
func (rt route) walk(key, label string) (l leg, ok bool) {
	if l.res, ok = resource(rt.from, key); !ok {
		return leg{}, false
	}
	l.label, l.known = label, label != anywhere
	for _, r := range rt.path {
		l.bases = append(l.bases, base(l.res.Base, l.label))
		next, step, ok := successor(r, l.res.Key)
		if !ok {
			return leg{}, false
		}
		target, ok := resource(r, next)
		if !ok {
			return leg{}, false
		}
		if l.known {
			l.label, l.known = follow(l.label, l.res.Partitioning, target.Partitioning)
		}
		l.res, l.transforms = target, append(l.transforms, step.Transform)
	}
	l.bases = append(l.bases, base(l.res.Base, l.label))
	return l, true
}

// to is the release at the end of the way.
func (rt route) to() string {
	if len(rt.path) == 0 {
		return rt.from.Version
	}
	return rt.path[len(rt.path)-1].Version
}

// target names the resource that another one has become.
func (rt route) target(key string) (string, releases.Resource, bool) {
	l, ok := rt.walk(key, "")
	return l.res.Key, l.res, ok
}

func base(name, label string) string {
	if label == "" {
		return name
	}
	return name + "-" + label
}

func successor(r *releases.Release, key string) (string, releases.Step, bool) {
	for target, step := range r.Migration.Steps {
		if step.From == key {
			return target, step, true
		}
	}
	return "", releases.Step{}, false
}

// labelOf takes the partition label out of an index name; ok is false when the
// name is not a partition of prefix.
func labelOf(index, prefix string, p releases.Partitioning) (string, bool) {
	rest, ok := strings.CutPrefix(index, prefix)
	if !ok {
		return "", false
	}
	if p != releases.Unpartitioned {
		if rest, ok = strings.CutPrefix(rest, "-"); !ok {
			return "", false
		}
	}
	return rest, partitionLabels[p].MatchString(rest)
}

// overwritten says whether the document was written again after the tenant went
// on to a later release, up to version.
func (t *Tenant) overwritten(c copyOf, version string) bool {
	path, err := t.cfg.Catalogue.Path(c.release, version)
	if err != nil {
		return false
	}
	key := c.ref.resource
	for _, r := range path {
		next, _, ok := successor(r, key)
		if !ok {
			return false
		}
		if t.history.touched(r.Version, docID{c.ref.mode, next, c.ref.id}) {
			return true
		}
		key = next
	}
	return false
}

// compare says how got differs from every state that the document may have
// after its transforms; "" when it equals one.
func (t *Tenant) compare(rt route, c copyOf, got json.RawMessage) string {
	l, ok := rt.walk(c.ref.resource, c.ref.partition)
	if !ok {
		return "its resource has no successor"
	}
	var have map[string]any
	if err := decode(got, &have); err != nil {
		return "not a JSON object: " + err.Error()
	}
	why := "it was deleted"
	for _, s := range c.states {
		if s.absent {
			continue
		}
		if s.back != nil {
			if why = t.compareReturned(rt.to(), l.res.Key, *s.back, have); why == "" {
				return ""
			}
			continue
		}
		was, want, err := t.expected(rt, l, c, s)
		if err != nil {
			why = err.Error()
			continue
		}
		if why = difference("", want, have); why == "" {
			return broken(c.release, rt, l.res.Key, was, have)
		}
	}
	return why
}

// expected renders a state as written and as it must look after the transforms.
func (t *Tenant) expected(rt route, l leg, c copyOf, s state) (was, want map[string]any, err error) {
	res, ok := resource(rt.from, c.ref.resource)
	if !ok {
		return nil, nil, fmt.Errorf("release %s has no resource %s", rt.from.Version, c.ref.resource)
	}
	raw, err := t.source(res, s)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(decode(raw, &was), decode(raw, &want)); err != nil {
		return nil, nil, fmt.Errorf("document %s as written: %w", c.ref.id, err)
	}
	for _, transform := range l.transforms {
		if err := transform.Apply(want); err != nil {
			return was, nil, fmt.Errorf("the transform refuses it: %w", err)
		}
	}
	return was, want, nil
}
