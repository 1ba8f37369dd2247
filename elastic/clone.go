package elastic

import (
	"context"
	"net/http"

	"github.com/tracardi/tms/upgrader"
)

// Clone implements upgrader.Engine. It is never repeated; without an answer
// the target may exist, with its index.resize.source.uuid saying of what.
func (c *Client) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	op := "clone index " + source + " to " + target
	if err := checkNames(op, source, target); err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	body, err := marshal(op, map[string]any{"settings": map[string]any{"index": settings}})
	if err != nil {
		return err
	}
	limit := c.engineLimit(ctx)
	var ack acknowledgement
	err = c.do(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPut, path: "/" + source + "/_clone/" + target, body: body,
		query: query("wait_for_active_shards", "0", "timeout", limit, "master_timeout", limit),
	})}, &ack)
	if err != nil {
		return err
	}
	return ack.check(op)
}

// PutMapping implements upgrader.Engine.
func (c *Client) PutMapping(ctx context.Context, mapping map[string]any, names ...string) error {
	op := "change the mapping of " + described(names)
	if err := checkNames(op, names...); err != nil {
		return err
	}
	content, err := c.rendered(ctx, op, upgrader.IndexBody{Mappings: mapping})
	if err != nil {
		return err
	}
	body, err := marshal(op, content["mappings"])
	if err != nil {
		return err
	}
	for _, part := range chunks(names) {
		limit := c.engineLimit(ctx)
		err := c.change(ctx, op, fixed(request{
			method: http.MethodPut, path: "/" + joined(part) + "/_mapping", body: body,
			query: query("timeout", limit, "master_timeout", limit, "expand_wildcards", "none"),
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
