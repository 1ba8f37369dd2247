package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/tracardi/tms/upgrader"
)

// Aliases implements upgrader.Engine; indices are sorted. An alias that does
// not exist has no entry.
func (c *Client) Aliases(ctx context.Context, patterns ...string) (map[string][]string, error) {
	op := "read aliases " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return nil, err
	}
	out := make(map[string][]string)
	for _, part := range chunks(patterns) {
		var body map[string]json.RawMessage
		err := c.do(ctx, call{
			op: op, request: fixed(request{method: http.MethodGet, path: "/_alias/" + joined(part)}),
			// One missing name among others makes a 404 that holds the
			// others all the same, beside "error" and "status".
			accept: []int{http.StatusNotFound},
		}, &body)
		if err != nil {
			return nil, err
		}
		if err := collectAliases(op, body, out); err != nil {
			return nil, err
		}
	}
	for _, indices := range out {
		slices.Sort(indices)
	}
	return out, nil
}

func collectAliases(op string, body map[string]json.RawMessage, out map[string][]string) error {
	for index, raw := range body {
		if raw[0] != '{' { // "error" (a sentence) and "status"
			continue
		}
		if index == "error" {
			return itemFailure(op, string(raw), http.StatusNotFound)
		}
		var held struct {
			Aliases map[string]struct{} `json:"aliases"`
		}
		if err := decode(op, raw, &held); err != nil {
			return err
		}
		for alias := range held.Aliases {
			if !slices.Contains(out[alias], index) {
				out[alias] = append(out[alias], index)
			}
		}
	}
	return nil
}

// UpdateAliases implements upgrader.Engine. Removing an alias that the index
// does not have is no error (the engines are silent about it unless it is all
// that was asked for); a missing index is ErrNotFound, and nothing is changed
// then.
func (c *Client) UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error {
	if len(actions) == 0 {
		return nil
	}
	op := fmt.Sprintf("change %d aliases, the first %s of %s", len(actions), actions[0].Alias, actions[0].Index)
	type target struct {
		Index string `json:"index"`
		Alias string `json:"alias,omitempty"`
		Must  bool   `json:"must_exist,omitempty"`
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	list := make([]map[string]target, 0, len(actions))
	removals := 0
	for _, a := range actions {
		if a.Drop {
			if err := checkNames(op, a.Index); err != nil {
				return err
			}
			list = append(list, map[string]target{"remove_index": {Index: a.Index}})
			continue
		}
		if err := checkNames(op, a.Index, a.Alias); err != nil {
			return err
		}
		verb := "add"
		must := a.Remove && a.MustExist && id.capability.AliasMustExist
		if a.Remove {
			verb = "remove"
		}
		if a.Remove && !must {
			removals++
		}
		list = append(list, map[string]target{verb: {a.Index, a.Alias, must}})
	}
	body, err := marshal(op, map[string]any{"actions": list})
	if err != nil {
		return err
	}
	limit := c.engineLimit(ctx)
	err = c.change(ctx, op, fixed(request{
		method: http.MethodPost, path: "/_aliases", body: body,
		query: query("timeout", limit, "master_timeout", limit),
	}))
	if removals == len(actions) && is404(err, "aliases_not_found_exception") {
		return nil
	}
	return err
}
