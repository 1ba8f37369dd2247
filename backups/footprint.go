package backups

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// modes stand in front of the names of an environment.
var modes = []naming.Mode{naming.Staging, naming.Production, naming.Static}

// footprint is everything of tenants in the cluster, by the names that the
// releases give.
type footprint struct {
	prefixes []string
}

func footprintOf(c Catalogue) footprint {
	var f footprint
	for _, r := range c.List() {
		f.prefixes = append(f.prefixes, r.Prefix)
	}
	return f
}

// patterns of all versions of a tenant's indices.
func (f footprint) patterns(tenant naming.Tenant) (out []string) {
	for _, p := range f.prefixes {
		out = append(out, tenant.Patterns(p, modes...)...)
	}
	return out
}

// owns reads a name that a pattern matched again: a tenant's id may be a
// release's prefix.
func (f footprint) owns(index string, tenant naming.Tenant) bool {
	n, ok := naming.Parse(index)
	return ok && tenant.Owns(n) && slices.Contains(f.prefixes, n.Prefix)
}

// look reads what stands of a tenant. It refreshes first, so that every write
// up to the sequence numbers read is counted.
func (f footprint) look(ctx context.Context, e Engine, tenant naming.Tenant) (standing, error) {
	var now standing
	patterns := f.patterns(tenant)
	earlier, err := e.Stats(ctx, patterns...)
	if err != nil {
		return now, err
	}
	if err := e.Refresh(ctx, patterns...); err != nil {
		return now, err
	}
	if now.indices, err = e.Indices(ctx, patterns...); err != nil {
		return now, err
	}
	now.indices = slices.DeleteFunc(now.indices, func(ix upgrader.Index) bool { return !f.owns(ix.Name, tenant) })
	if now.stats, err = e.Stats(ctx, patterns...); err != nil {
		return now, err
	}
	now.moving = map[string]bool{}
	for name, st := range now.stats {
		now.moving[name] = !maps.Equal(st.MaxSeqNo, earlier[name].MaxSeqNo)
	}
	aliases, err := e.Aliases(ctx, tenant.AliasPatterns()...)
	if err != nil {
		return now, err
	}
	now.aliases = map[string][]string{}
	for alias, on := range aliases {
		// An alias of tenant "08x" looks like an index pattern of others.
		if on = slices.DeleteFunc(slices.Clone(on), func(ix string) bool { return !f.owns(ix, tenant) }); len(on) > 0 {
			now.aliases[alias] = on
		}
	}
	now.templates, err = f.templates(ctx, e, tenant)
	return now, err
}

// templates of all versions of the tenant, in two calls per mode and name.
func (f footprint) templates(ctx context.Context, e Engine, tenant naming.Tenant) ([]upgrader.Template, error) {
	var out []upgrader.Template
	for _, m := range modes {
		for _, name := range tenant.Names() {
			for _, pattern := range []string{"template.*." + name + ".*", "template." + name + ".*"} {
				found, err := e.Templates(ctx, string(m)+pattern)
				if err != nil {
					return nil, err
				}
				for _, t := range found {
					if f.ownsTemplate(t, tenant) {
						out = append(out, t)
					}
				}
			}
		}
	}
	return out, nil
}

// ownsTemplate goes by what a template applies to: of some releases its name
// does not say the version.
func (f footprint) ownsTemplate(t upgrader.Template, tenant naming.Tenant) bool {
	return slices.ContainsFunc(t.Patterns, func(p string) bool { return f.owns(p, tenant) })
}

// incomplete names an index with a primary that is not active, "" for none:
// the engine would not snapshot it, and its figures are not known.
func (s standing) incomplete() string {
	for _, ix := range s.indices {
		if st, ok := s.stats[ix.Name]; ok && len(st.MaxSeqNo) < st.Primaries {
			return ix.Name
		}
	}
	return ""
}

// closed are the indices that are closed.
func (s standing) closed() (names []string) {
	for _, ix := range s.indices {
		if _, open := s.stats[ix.Name]; !open {
			names = append(names, ix.Name)
		}
	}
	return names
}

// manifest writes down what stands and is open.
func (s standing) manifest(snapshot string, t Tenant, c Catalogue, now time.Time) Manifest {
	m := Manifest{
		Snapshot: snapshot, Tenant: t.ID, AdoptedFrom: t.AdoptedFrom, Release: t.Release, Labels: t.Labels, Aliases: s.aliases,
		Indices: []IndexRecord{}, Templates: []TemplateRecord{}, TakenAt: now.UTC(),
	}
	for _, ix := range s.indices {
		st, open := s.stats[ix.Name]
		if !open {
			continue // what is closed tells nothing that a restore could be held against
		}
		r := IndexRecord{Name: ix.Name, UUID: ix.UUID, Shards: st.Primaries, Bytes: st.Bytes, Blocked: ix.WriteBlocked, Before: mark(ix, st), Moving: s.moving[ix.Name]}
		r.After = r.Before
		r.Release, r.Resource = identify(c, ix.Name)
		m.Indices = append(m.Indices, r)
	}
	for _, tpl := range s.templates {
		m.Templates = append(m.Templates, TemplateRecord{Name: tpl.Name, Raw: tpl.Raw})
	}
	return m
}

// identify finds release and resource of an index by its name.
func identify(c Catalogue, index string) (version, resource string) {
	n, ok := naming.Parse(index)
	if !ok {
		return "", ""
	}
	r, err := c.ByPrefix(n.Prefix)
	if err != nil {
		return "", ""
	}
	i := slices.IndexFunc(r.Resources, func(res releases.Resource) bool { return res.Base == n.Base })
	if i < 0 {
		return r.Version, ""
	}
	return r.Version, r.Resources[i].Key
}

// digest reads all documents of an index up to given sequence numbers.
func digest(ctx context.Context, e Engine, index string, until map[int]int64) (string, error) {
	var d releases.Digest
	var buf []byte
	for shard, last := range until {
		err := eachDoc(ctx, e, index, shard, last, func(doc stream.Doc) (err error) {
			if buf, err = releases.CanonicalJSON(buf[:0], doc.Source); err != nil {
				return failf("document %s of %s: %v", doc.ID, index, err)
			}
			d.Add(doc.ID, buf)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return d.String(), nil
}

// Documents are read in windows of sequence numbers: no context is held open
// in the engine. Windows grow over the gaps that updates leave.
const (
	pageSize  = 2_000
	maxWindow = 1 << 20
)

func eachDoc(ctx context.Context, e Engine, index string, shard int, last int64, fn func(stream.Doc) error) error {
	window := int64(pageSize)
	for from := int64(-1); from < last; {
		until := min(last, from+window)
		docs, err := e.Page(ctx, stream.PageRequest{Index: index, Shard: shard, From: from, To: until, Size: pageSize})
		if err != nil {
			return err
		}
		switch {
		case len(docs) == pageSize:
			until, window = docs[len(docs)-1].SeqNo, max(window/2, pageSize)
		case len(docs) < pageSize/2:
			window = min(window*2, maxWindow)
		}
		for _, doc := range docs {
			if err := fn(doc); err != nil {
				return err
			}
		}
		from = until
	}
	return nil
}
