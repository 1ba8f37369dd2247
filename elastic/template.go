package elastic

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/tracardi/tms/upgrader"
)

// templateBody is the composable template as the engine renders it.
type templateBody struct {
	Patterns []string `json:"index_patterns"`
	Priority *int64   `json:"priority,omitempty"`
	Template struct {
		Settings struct {
			Index map[string]any `json:"index"`
		} `json:"settings"`
		Mappings map[string]any             `json:"mappings"`
		Aliases  map[string]json.RawMessage `json:"aliases"`
	} `json:"template"`
}

// Templates implements upgrader.Engine, sorted by name. Mappings in Body are
// canonical (CanonicalMapping), Raw is as the engine has it. Options of
// aliases (filters, routing) and composed_of, version, _meta are in Raw only.
func (c *Client) Templates(ctx context.Context, pattern string) ([]upgrader.Template, error) {
	op := "read index templates " + pattern
	if err := checkPatterns(op, pattern); err != nil {
		return nil, err
	}
	var body struct {
		Templates []struct {
			Name string          `json:"name"`
			Raw  json.RawMessage `json:"index_template"`
		} `json:"index_templates"`
		Error *exception `json:"error"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_index_template/" + pattern,
		// A name without a match is a 404 with an error, a pattern one with
		// an empty list.
	}), accept: []int{http.StatusNotFound}}, &body)
	if err != nil {
		return nil, err
	}
	if body.Error != nil && body.Error.Type != "resource_not_found_exception" {
		kind, reason := body.Error.words()
		return nil, &upgrader.EngineError{Op: op, Status: http.StatusNotFound, Type: kind, Reason: reason}
	}
	id, err := c.identify(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]upgrader.Template, 0, len(body.Templates))
	for _, t := range body.Templates {
		var b templateBody
		if err := decode(op, t.Raw, &b); err != nil {
			return nil, err
		}
		tpl := upgrader.Template{
			Name: t.Name, Patterns: b.Patterns, Priority: b.Priority, Raw: t.Raw,
			Body: upgrader.IndexBody{
				Settings: b.Template.Settings.Index,
				Mappings: CanonicalMapping(b.Template.Mappings, id.EngineInfo),
			},
		}
		for alias := range b.Template.Aliases {
			if tpl.Body.Aliases == nil {
				tpl.Body.Aliases = make(map[string]struct{})
			}
			tpl.Body.Aliases[alias] = struct{}{}
		}
		list = append(list, tpl)
	}
	slices.SortFunc(list, func(a, b upgrader.Template) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// PutTemplate implements upgrader.Engine: it creates or replaces.
func (c *Client) PutTemplate(ctx context.Context, t upgrader.Template) error {
	op := "put index template " + t.Name
	if err := checkNames(op, t.Name); err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	body, err := c.templateContent(ctx, op, t)
	if err != nil {
		return err
	}
	return c.change(ctx, op, fixed(request{
		method: http.MethodPut, path: "/_index_template/" + t.Name, body: body,
		query: query("master_timeout", c.engineLimit(ctx)),
	}))
}

func (c *Client) templateContent(ctx context.Context, op string, t upgrader.Template) ([]byte, error) {
	if t.Body.Settings == nil && t.Body.Mappings == nil && t.Body.Aliases == nil && len(t.Raw) > 0 {
		return t.Raw, nil
	}
	inner, err := c.rendered(ctx, op, t.Body)
	if err != nil {
		return nil, err
	}
	content := map[string]any{"index_patterns": t.Patterns, "template": inner}
	if t.Priority != nil {
		content["priority"] = *t.Priority
	}
	return marshal(op, content)
}

// DeleteTemplate implements upgrader.Engine.
func (c *Client) DeleteTemplate(ctx context.Context, name string) error {
	op := "delete index template " + name
	if err := checkNames(op, name); err != nil {
		return err
	}
	err := c.change(ctx, op, fixed(request{
		method: http.MethodDelete, path: "/_index_template/" + name,
	}))
	for _, kind := range []string{"index_template_missing_exception", "resource_not_found_exception"} {
		if is404(err, kind) {
			return nil
		}
	}
	return err
}
