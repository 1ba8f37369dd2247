package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// Parallelism of the bare loop: the defaults of upgrader.Options and
// upgrader.Limits, so that both sides load the engine alike.
const (
	upgradeTenants = upgrader.DefaultMaxTenants
	upgradeCreates = upgrader.DefaultCreates                         // per tenant
	upgradeCopies  = upgrader.DefaultTasks + upgrader.DefaultStreams // per tenant
)

// bare upgrades the fleet with the calls that no upgrade can do without: read
// the listing, create the targets, copy with the engine's _reindex, put the
// templates, move the aliases. No record, no catch-up, no fence, no proof.
//
// With a meter its phases are noted under the names of TMS's steps.
func (c *cluster) bare(ctx context.Context, plan *upgrader.Plan, m *meter) error {
	b := bareRun{cluster: c, engine: c.engine, m: m}
	if m != nil {
		b.engine = meteredEngine{c.engine, m}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(upgradeTenants)
	for _, t := range plan.Tenants {
		g.Go(func() error {
			if err := b.tenant(gctx, t); err != nil {
				return fmt.Errorf("bare loop, tenant %s: %w", t.TenantID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// bareRun is one run of the bare loop.
type bareRun struct {
	*cluster
	engine upgrader.Engine
	m      *meter
}

// phase does a part of the work on a tenant and notes its time.
func (c bareRun) phase(name, tenant string, do func() error) error {
	start := time.Now()
	err := do()
	if c.m != nil {
		c.m.stepped(name, tenant, time.Since(start).Seconds(), time.Now())
	}
	return err
}

func (c bareRun) tenant(ctx context.Context, t upgrader.TenantPlan) error {
	old := patterns(fromPrefix(c.cluster), t.TenantID)
	var listing []upgrader.Index
	var stats map[string]upgrader.IndexStats
	to, err := c.catalogue.Get(toRelease)
	if err != nil {
		return err
	}
	prepare := func() (err error) {
		if listing, err = c.engine.Indices(ctx, old...); err != nil {
			return err
		}
		if stats, err = c.engine.Stats(ctx, old...); err != nil {
			return err
		}
		return each(ctx, upgradeCreates, upgrader.BeginMoves(t.Moves), func(ctx context.Context, m upgrader.Move) error {
			res, _ := to.Resource(m.Resource)
			return c.engine.CreateIndex(ctx, m.Target, bareBody(res, m))
		})
	}
	copies := func() error {
		return each(ctx, upgradeCopies, upgrader.BeginMoves(t.Moves), func(ctx context.Context, m upgrader.Move) error {
			return c.copies(ctx, to, m, stats)
		})
	}
	change := func() error {
		if err := c.templates(ctx, to, t.TenantID); err != nil {
			return err
		}
		return c.engine.UpdateAliases(ctx, bareAliases(listing, upgrader.BeginMoves(t.Moves)))
	}
	if err := c.phase("prepare", t.TenantID, prepare); err != nil {
		return err
	}
	if err := c.phase("copy", t.TenantID, copies); err != nil {
		return err
	}
	return c.phase("switch", t.TenantID, change)
}

func each(ctx context.Context, limit int, moves []upgrader.Move, do func(context.Context, upgrader.Move) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for _, m := range moves {
		g.Go(func() error { return do(gctx, m) })
	}
	return g.Wait()
}

// bareBody is what TMS creates the target with: large ones without refresh.
func bareBody(r releases.Resource, m upgrader.Move) upgrader.IndexBody {
	settings := maps.Clone(r.Settings)
	if settings == nil {
		settings = map[string]any{}
	}
	settings["number_of_replicas"] = m.Replicas
	if !m.Light {
		settings["number_of_replicas"], settings["refresh_interval"] = 0, "-1"
	}
	return upgrader.IndexBody{Settings: settings, Mappings: r.Mapping}
}

// copies fills one target. Its sources follow each other, as in a merge they
// must.
func (c bareRun) copies(ctx context.Context, to *releases.Release, m upgrader.Move, stats map[string]upgrader.IndexStats) error {
	for _, copied := range m.Copies {
		st := stats[copied.Source]
		if st.Docs == 0 {
			continue
		}
		if err := c.reindex(ctx, to.Migration.Steps[m.Resource].Transform, copied.Source, m.Target, st); err != nil {
			return err
		}
	}
	if m.Light {
		return nil
	}
	res, _ := to.Resource(m.Resource)
	settings := map[string]any{"number_of_replicas": m.Replicas, "refresh_interval": res.Settings["refresh_interval"]}
	return c.engine.PutSettings(ctx, settings, m.Target)
}

// reindexTries is how often a copy is started of which the engine refuses
// something: with thousands of changes of its state in line, an index waits for its
// mapping for longer than the engine lets a document wait (30 s).
const reindexTries = 4

// errRefused is any answer of the engine but a good one.
var errRefused = errors.New("refused")

// reindex copies one source and waits for the end, as one call.
func (c bareRun) reindex(ctx context.Context, t releases.Transform, source, target string, st upgrader.IndexStats) error {
	body := map[string]any{"source": map[string]any{"index": source}, "dest": map[string]any{"index": target}}
	if script, params := t.Painless(); script != "" {
		body["script"] = map[string]any{"lang": "painless", "source": script, "params": params}
	}
	q := url.Values{"wait_for_completion": {"true"}, "refresh": {"false"}, "slices": {strconv.Itoa(max(1, st.Primaries))}}
	var answer struct {
		Total    int64             `json:"total"`
		Created  int64             `json:"created"`
		Updated  int64             `json:"updated"`
		Failures []json.RawMessage `json:"failures"`
	}
	start := time.Now()
	var err error
	for range reindexTries {
		if err = c.post(ctx, "/_reindex?"+q.Encode(), body, &answer); !errors.Is(err, errRefused) {
			break
		}
	}
	if c.m != nil {
		c.m.asked("_reindex, to its end", source, start)
	}
	if err != nil {
		return err
	}
	if len(answer.Failures) > 0 || answer.Created+answer.Updated != answer.Total {
		return fmt.Errorf("copy of %s: %d of %d documents, %d failures", source, answer.Created+answer.Updated, answer.Total, len(answer.Failures))
	}
	return nil
}

func (c bareRun) templates(ctx context.Context, to *releases.Release, tenant string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(upgradeCreates)
	for _, r := range to.Resources {
		if r.Partitioning == releases.Unpartitioned {
			continue
		}
		for _, m := range []naming.Mode{naming.Staging, naming.Production} {
			n := naming.IndexName{Mode: m, Prefix: to.Prefix, Tenant: tenant, Base: r.Base}
			body := bareBody(r, upgrader.Move{Light: true})
			body.Aliases = map[string]struct{}{n.Alias(): {}}
			t := upgrader.Template{Name: n.Template(), Patterns: []string{n.TemplatePattern()}, Body: body}
			g.Go(func() error { return c.engine.PutTemplate(gctx, t) })
		}
	}
	return g.Wait()
}

// bareAliases moves every alias from the old indices to the new ones; static
// ones keep all versions.
func bareAliases(old []upgrader.Index, moves []upgrader.Move) []upgrader.AliasAction {
	var out []upgrader.AliasAction
	for _, ix := range old {
		if n, ok := naming.Parse(ix.Name); !ok || n.Mode == naming.Static {
			continue
		}
		for _, a := range ix.Aliases {
			out = append(out, upgrader.AliasAction{Remove: true, Index: ix.Name, Alias: a})
		}
	}
	for _, m := range moves {
		n, _ := naming.Parse(m.Target)
		out = append(out, upgrader.AliasAction{Index: m.Target, Alias: n.Alias()})
	}
	return out
}

// post sends JSON to the engine and decodes its answer into out.
func (c *cluster) post(ctx context.Context, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		raw = nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.stack.Engine.URL()+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusMultipleChoices { // what was refused is at the end
		return fmt.Errorf("%s: %w, status %d: %s", path, errRefused, res.StatusCode, answer[max(0, len(answer)-1000):])
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
