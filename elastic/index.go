package elastic

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
)

// Indices implements upgrader.Engine; open and closed indices, hidden ones
// only by exact name.
func (c *Client) Indices(ctx context.Context, patterns ...string) ([]upgrader.Index, error) {
	op := "read indices " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return nil, err
	}
	found := make(map[string]upgrader.Index)
	for _, part := range chunks(patterns) {
		var body map[string]struct {
			Aliases  map[string]struct{} `json:"aliases"`
			Mappings map[string]any      `json:"mappings"`
			Settings struct {
				Index map[string]any `json:"index"`
			} `json:"settings"`
		}
		err := c.do(ctx, call{op: op, request: func() esapi.Request {
			return esapi.IndicesGetRequest{
				Index: part, ExpandWildcards: "open,closed", IgnoreUnavailable: ptr(true),
			}
		}}, &body)
		if err != nil {
			return nil, err
		}
		id, err := c.identify(ctx)
		if err != nil {
			return nil, err
		}
		for name, b := range body {
			uuid, _ := b.Settings.Index["uuid"].(string)
			dropNulls(b.Settings.Index)
			found[name] = upgrader.Index{
				Name: name, UUID: uuid,
				Aliases:      slices.Sorted(maps.Keys(b.Aliases)),
				Settings:     b.Settings.Index,
				Mapping:      CanonicalMapping(b.Mappings, id.EngineInfo),
				WriteBlocked: writeBlocked(b.Settings.Index),
			}
		}
	}
	list := slices.Collect(maps.Values(found))
	slices.SortFunc(list, func(a, b upgrader.Index) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// dropNulls removes settings that were set to null when the index was cloned:
// the engine keeps them, and they mean what a missing one means.
func dropNulls(settings map[string]any) {
	for k, v := range settings {
		sub, nested := v.(map[string]any)
		if nested {
			dropNulls(sub)
		}
		if v == nil || nested && len(sub) == 0 {
			delete(settings, k)
		}
	}
}

func writeBlocked(settings map[string]any) bool {
	blocks, _ := settings["blocks"].(map[string]any)
	return blocks["write"] == "true" || blocks["write"] == true
}

// CreateIndex implements upgrader.Engine. It is never repeated; when the
// cluster does not finish in time (status 504, or no answer) the index may
// exist all the same.
func (c *Client) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	op := "create index " + name
	if err := checkNames(op, name); err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	content, err := c.rendered(ctx, op, body)
	if err != nil {
		return err
	}
	raw, err := marshal(op, content)
	if err != nil {
		return err
	}
	limit := c.engineLimit(ctx)
	var ack acknowledgement
	err = c.do(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPut, path: "/" + name, body: raw,
		query: query("wait_for_active_shards", "0", "timeout", limit, "master_timeout", limit),
	})}, &ack)
	if err != nil {
		return err
	}
	return ack.check(op)
}

// rendered is an index body as this engine wants it.
func (c *Client) rendered(ctx context.Context, op string, body upgrader.IndexBody) (map[string]any, error) {
	id, err := c.identify(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, 3)
	if len(body.Settings) > 0 {
		out["settings"] = map[string]any{"index": body.Settings}
	}
	if len(body.Mappings) > 0 {
		m, err := TranslateMapping(body.Mappings, id.EngineInfo)
		if err != nil {
			return nil, &unsupported{op: op, err: err}
		}
		out["mappings"] = m
	}
	if len(body.Aliases) > 0 {
		out["aliases"] = body.Aliases
	}
	return out, nil
}

// unsupported is a request that this engine cannot fulfil, found before it
// was sent.
type unsupported struct {
	op  string
	err error
}

func (u *unsupported) Error() string { return u.op + ": " + u.err.Error() }
func (u *unsupported) Unwrap() error { return u.err }

// DeleteIndices implements upgrader.Engine. It refuses anything that is not
// an exact name before it sends the first request, and forbids the engine to
// expand wildcards. A name that is an alias deletes nothing.
func (c *Client) DeleteIndices(ctx context.Context, names ...string) error {
	op := "delete indices " + described(names)
	if err := checkNames(op, names...); err != nil {
		return err
	}
	for _, part := range chunks(names) {
		err := c.change(ctx, op, func() esapi.Request {
			limit := c.engineTimeout(ctx)
			return esapi.IndicesDeleteRequest{
				Index: part, IgnoreUnavailable: ptr(true), ExpandWildcards: "none",
				Timeout: limit, MasterTimeout: limit,
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// PutSettings implements upgrader.Engine. An index that is missing is
// ErrNotFound; with so many names that several requests are needed, those of
// earlier requests are changed then.
func (c *Client) PutSettings(ctx context.Context, settings map[string]any, names ...string) error {
	op := "change settings of " + described(names)
	if err := checkNames(op, names...); err != nil {
		return err
	}
	body, err := marshal(op, settings)
	if err != nil {
		return err
	}
	for _, part := range chunks(names) {
		if err := c.change(ctx, op, c.settingsRequest(ctx, part, body)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) settingsRequest(ctx context.Context, names []string, body []byte) func() esapi.Request {
	limit := c.engineLimit(ctx)
	return fixed(request{
		method: http.MethodPut, path: "/" + joined(names) + "/_settings", body: body,
		query: query("timeout", limit, "master_timeout", limit, "expand_wildcards", "none"),
	})
}

// Refresh implements upgrader.Engine. Indices that are missing are skipped.
func (c *Client) Refresh(ctx context.Context, patterns ...string) error {
	op := "refresh " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return err
	}
	for _, part := range chunks(patterns) {
		var body struct {
			Shards shardResult `json:"_shards"`
		}
		err := c.do(ctx, call{op: op, request: func() esapi.Request {
			return esapi.IndicesRefreshRequest{Index: part, IgnoreUnavailable: ptr(true)}
		}}, &body)
		if err != nil {
			return err
		}
		if err := body.Shards.check(op); err != nil {
			return err
		}
	}
	return nil
}
