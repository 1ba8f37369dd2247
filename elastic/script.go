package elastic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// scriptCleanup bounds the removal of a script stored for checking, which is
// done even when the caller has given up.
const scriptCleanup = 5 * time.Second

// CheckScript implements upgrader.Engine. _scripts/painless/_execute knows no
// update scripts (and needs a module that may be missing), so the script is
// stored for the context "update", for which the engine compiles it first,
// and removed again. What does not compile is never stored. Params are not
// looked at: engines compile without them.
//
// The id follows from the source, so what a crash leaves behind is at most
// one stored script for each source, and the next check removes it.
func (c *Client) CheckScript(ctx context.Context, source string, _ map[string]any) error {
	const op = "compile script"
	digest := sha256.Sum256([]byte(source))
	path := "/_scripts/tms-check-" + hex.EncodeToString(digest[:12])
	body, err := marshal(op, map[string]any{"script": map[string]any{"lang": "painless", "source": source}})
	if err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	err = c.change(ctx, op, fixed(request{method: http.MethodPut, path: path + "/update", body: body}))
	if e := (*upgrader.EngineError)(nil); errors.As(err, &e) && e.Status >= 400 && e.Status < 500 {
		return err // refused: nothing is stored
	}
	clean, done := context.WithTimeout(context.WithoutCancel(ctx), scriptCleanup)
	defer done()
	left := c.change(clean, "remove the script that was compiled", fixed(request{method: http.MethodDelete, path: path}))
	if err == nil && left != nil && !is404(left, "resource_not_found_exception") {
		return left
	}
	return err
}
