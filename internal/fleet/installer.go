package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
)

// Install puts the tenant's layout into the engine as Tracardi's installer
// does: templates first, then the index of each partition with its alias,
// nothing replicated. Static resources also get their default documents.
func (t *Tenant) Install(ctx context.Context) error {
	return t.InstallRelease(ctx, t.release.Version)
}

// InstallRelease installs the layout of another release beside the one that
// the tenant has: what the next version's container does when it is started
// too early, if aliases were of no account to it.
func (t *Tenant) InstallRelease(ctx context.Context, version string) error {
	r, err := t.cfg.Catalogue.Get(version)
	if err != nil {
		return fmt.Errorf("install tenant %s: %w", t.cfg.Tenant, err)
	}
	resources, err := t.resources(r)
	if err != nil {
		return fmt.Errorf("install tenant %s: %w", t.cfg.Tenant, err)
	}
	if t.flattened, err = t.engine.flattenedType(ctx); err != nil {
		return fmt.Errorf("install tenant %s: %w", t.cfg.Tenant, err)
	}
	all := slots(resources)
	templates, tctx := errgroup.WithContext(ctx)
	templates.SetLimit(t.cfg.Parallel)
	for _, s := range all {
		if s.res.Partitioning != releases.Unpartitioned {
			templates.Go(func() error { return t.putTemplate(tctx, r.Prefix, s) })
		}
	}
	if err := templates.Wait(); err != nil {
		return fmt.Errorf("install tenant %s: %w", t.cfg.Tenant, err)
	}
	indices, ictx := errgroup.WithContext(ctx)
	indices.SetLimit(t.cfg.Parallel)
	for _, s := range all {
		for _, label := range t.partitions(s.res.Partitioning) {
			indices.Go(func() error { return t.createIndex(ictx, r.Prefix, s, label) })
		}
	}
	if err := indices.Wait(); err != nil {
		return fmt.Errorf("install tenant %s: %w", t.cfg.Tenant, err)
	}
	return t.fillStatic(ctx, r.Prefix, resources)
}

func (t *Tenant) putTemplate(ctx context.Context, prefix string, s slot) error {
	name := templateName(s.mode, prefix, t.named(prefix), s.res.Base)
	body := map[string]any{
		"index_patterns": []string{templatePattern(s.mode, prefix, t.named(prefix), s.res.Base)},
		"template":       t.indexBody(prefix, s),
	}
	_, err := t.engine.call(ctx, http.MethodPut, "/_index_template/"+url.PathEscape(name), body, nil)
	return err
}

// createIndex makes one index. It does not wait for the shards: that costs most
// of the time, and the first write waits anyhow.
func (t *Tenant) createIndex(ctx context.Context, prefix string, s slot, label string) error {
	name := indexName(s.mode, prefix, t.named(prefix), s.res.Base, label)
	var body any = t.indexBody(prefix, s)
	if label != "" {
		body = map[string]any{} // the template says it all, as for Tracardi
	}
	_, err := t.engine.call(ctx, http.MethodPut, "/"+url.PathEscape(name)+"?wait_for_active_shards=0", body, nil)
	return err
}

// indexBody is what Tracardi creates an index, or a template, with.
func (t *Tenant) indexBody(prefix string, s slot) map[string]any {
	settings := map[string]any{"number_of_replicas": 0}
	for key, v := range s.res.Settings {
		settings[key] = v
	}
	return map[string]any{
		"settings": map[string]any{"index": settings},
		"mappings": translate(s.res.Mapping, t.flattened),
		"aliases":  map[string]any{aliasName(s.mode, t.named(prefix), s.res.Base): struct{}{}},
	}
}

// translate replaces the field type "flattened" by what the engine calls it.
func translate(v any, flattened string) any {
	switch v := v.(type) {
	case map[string]any:
		if kind, ok := v["type"].(string); ok && kind == "flattened" && flattened != "flattened" {
			return map[string]any{"type": flattened}
		}
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = translate(child, flattened)
		}
		return out
	default:
		return v
	}
}

// fillStatic writes the documents that every installation brings along. They
// belong to no tenant's data, so they are not part of the history.
func (t *Tenant) fillStatic(ctx context.Context, prefix string, resources []releases.Resource) error {
	var writes []write
	for _, res := range resources {
		if !res.Static {
			continue
		}
		index := indexName(Static, prefix, t.named(prefix), res.Base, "")
		for n := range staticDocuments {
			id, doc := t.generate(res, n, t.months[len(t.months)-1])
			raw, err := json.Marshal(doc)
			if err != nil {
				return fmt.Errorf("encode %s %s: %w", res.Key, id, err)
			}
			writes = append(writes, write{index, id, raw})
		}
	}
	if len(writes) == 0 {
		return nil
	}
	verdicts, err := t.engine.bulk(ctx, writes)
	if err != nil {
		return fmt.Errorf("fill static resources of %s: %w", t.cfg.Tenant, err)
	}
	for i, v := range verdicts {
		if !v.acknowledged() {
			return fmt.Errorf("fill static resources of %s: %s %s: %d %s: %s",
				t.cfg.Tenant, writes[i].index, writes[i].id, v.status, v.kind, v.reason)
		}
	}
	return nil
}
