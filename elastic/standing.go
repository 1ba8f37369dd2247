package elastic

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/cleanup"
)

var _ cleanup.Engine = (*Client)(nil)

// Standing implements cleanup.Engine; hidden indices are among them.
func (c *Client) Standing(ctx context.Context, patterns ...string) ([]cleanup.Index, error) {
	op := "list indices " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return nil, err
	}
	found := map[string]cleanup.Index{}
	for _, part := range chunks(patterns) {
		var rows []struct {
			Index  string `json:"index"`
			UUID   string `json:"uuid"`
			Status string `json:"status"`
			Pri    int    `json:"pri,string"`
			Rep    int    `json:"rep,string"`
			Docs   number `json:"docs.count"`
			Bytes  number `json:"pri.store.size"`
		}
		var held map[string]struct {
			Aliases map[string]struct{} `json:"aliases"`
		}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error {
			return c.do(ctx, call{op: op, request: fixed(request{
				method: http.MethodGet, path: "/_cat/indices/" + joined(part),
				query: query("format", "json", "bytes", "b", "expand_wildcards", "all", "h", "index,uuid,status,pri,rep,docs.count,pri.store.size"),
			})}, &rows)
		})
		g.Go(func() error {
			return c.do(ctx, call{op: op, request: fixed(request{
				method: http.MethodGet, path: "/" + joined(part) + "/_alias",
				query: query("expand_wildcards", "all", "ignore_unavailable", "true"),
			})}, &held)
		})
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[r.Index] = cleanup.Index{
				Name: r.Index, UUID: r.UUID, Aliases: slices.Sorted(maps.Keys(held[r.Index].Aliases)),
				Shards: r.Pri * (1 + r.Rep), Docs: int64(r.Docs), Bytes: int64(r.Bytes), Closed: r.Status == "close",
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b cleanup.Index) int { return strings.Compare(a.Name, b.Name) }), nil
}

// number is one of the cat API's: text, or null for closed indices.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	*n = 0
	if text == "null" || text == "" {
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	*n = number(v)
	return err
}

// Vitals implements cleanup.Engine.
func (c *Client) Vitals(ctx context.Context) (cleanup.Vitals, error) {
	h, err := c.Health(ctx)
	return cleanup.Vitals{Nodes: h.Nodes, Red: h.Status == "red"}, err
}
