package elastic

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/tracardi/tms/upgrader"
)

// simulated is what an engine says around its complaint about a template that
// it was only to imagine.
var simulated = regexp.MustCompile(`(composable template|index_template) \[simulate_template_[^\]]*\] (template after composition is invalid: |template after composition is invalid|invalid, cause )?`)

// CheckIndex implements upgrader.Engine. Simulating an index template is what
// all engines have had since 7.9 for this: the mapping is parsed and the
// settings are validated as for a new index, and nothing is stored. The
// pattern matches no name that anything else has.
func (c *Client) CheckIndex(ctx context.Context, body upgrader.IndexBody) error {
	const op = "try mapping and settings"
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	inner, err := c.rendered(ctx, op, body)
	if err != nil {
		return err
	}
	content, err := marshal(op, map[string]any{"index_patterns": []string{"tms-imagined-*"}, "template": inner})
	if err != nil {
		return err
	}
	err = c.do(ctx, call{op: op, request: fixed(request{method: http.MethodPost, path: "/_index_template/_simulate", body: content})}, nil)
	var e *upgrader.EngineError
	if errors.As(err, &e) {
		told := *e
		told.Reason = simulated.ReplaceAllString(e.Reason, "")
		return &told
	}
	return err
}
