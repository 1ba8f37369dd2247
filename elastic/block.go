package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
)

// incompleteBlock is the Type of the error (status 504) of a block that does
// not hold on every index. Blocks that were put stay: the caller lifts them or
// tries again.
const incompleteBlock = "incomplete_block"

// AwaitQuiet implements upgrader.Engine: changes of the priority of new mappings
// and higher, among them creations, started shards, blocks and aliases.
func (c *Client) AwaitQuiet(ctx context.Context, most time.Duration) error {
	return c.do(ctx, call{op: "wait for the pending tasks of the cluster", request: fixed(request{
		method: http.MethodGet, path: "/_cluster/health", query: query("wait_for_events", "high",
			"timeout", strconv.FormatInt(most.Milliseconds(), 10)+"ms", "filter_path", "timed_out"),
	}), accept: []int{http.StatusRequestTimeout}}, nil)
}

// BlockWrites implements upgrader.Engine. Patterns that match nothing, and
// names that do not exist, are left out of the result and are no error. On an
// error some of the indices may be blocked.
func (c *Client) BlockWrites(ctx context.Context, patterns ...string) ([]string, error) {
	op := "block writes to " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	blocked := []string{}
	for _, part := range chunks(patterns) {
		var res blockAnswer
		err := c.do(ctx, call{op: op, request: func() esapi.Request {
			limit := c.engineTimeout(ctx)
			return esapi.IndicesAddBlockRequest{
				Index: part, Block: "write", IgnoreUnavailable: ptr(true), AllowNoIndices: ptr(true),
				Timeout: limit, MasterTimeout: limit,
			}
		}}, &res)
		if err != nil {
			return nil, err
		}
		if err := res.check(op); err != nil {
			return nil, err
		}
		for _, i := range res.Indices {
			blocked = append(blocked, i.Name)
		}
		held, err := c.writeBlocked(ctx, op, part)
		if err != nil {
			return nil, err
		}
		blocked = append(blocked, held...)
	}
	slices.Sort(blocked)
	return slices.Compact(blocked), nil
}

// writeBlocked names the indices that have the block in their settings. The
// block API leaves those out of its answer that had it, whole, before. One whose
// block is not whole (see UnblockWrites) is in its answer.
func (c *Client) writeBlocked(ctx context.Context, op string, patterns []string) ([]string, error) {
	var body map[string]struct {
		Settings struct {
			Index map[string]any `json:"index"`
		} `json:"settings"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/" + joined(patterns) + "/_settings/index.blocks.write",
		query: query("ignore_unavailable", "true", "expand_wildcards", "open"),
	})}, &body)
	var names []string
	for name, b := range body {
		if writeBlocked(b.Settings.Index) {
			names = append(names, name)
		}
	}
	return names, err
}

type blockAnswer struct {
	Acknowledged       bool `json:"acknowledged"`
	ShardsAcknowledged bool `json:"shards_acknowledged"`
	Indices            []struct {
		Name         string     `json:"name"`
		Blocked      bool       `json:"blocked"`
		Exception    *exception `json:"exception"`
		FailedShards []struct {
			ID       int         `json:"id"`
			Failures []exception `json:"failures"`
		} `json:"failed_shards"`
	} `json:"indices"`
}

// check accepts only the answer that says of the whole and of every index
// that no write is in flight. With no index at all, shards_acknowledged is
// false and nothing is wrong.
func (b blockAnswer) check(op string) error {
	var why []string
	for _, i := range b.Indices {
		switch {
		case i.Exception != nil:
			_, reason := i.Exception.words()
			why = append(why, i.Name+" ("+reason+")")
		case len(i.FailedShards) > 0:
			why = append(why, fmt.Sprintf("%s (%d shards failed)", i.Name, len(i.FailedShards)))
		case !i.Blocked:
			why = append(why, i.Name)
		}
	}
	reason := "not blocked: " + strings.Join(why, ", ")
	if len(why) == 0 {
		if b.Acknowledged && (b.ShardsAcknowledged || len(b.Indices) == 0) {
			return nil
		}
		reason = "the cluster did not finish in time; writes may still be in flight"
	}
	return &upgrader.EngineError{Op: op, Status: http.StatusGatewayTimeout, Type: incompleteBlock, Reason: reason}
}

// liftTries bounds how often a block that is not whole is made so to be lifted.
const liftTries = 3

// UnblockWrites implements upgrader.Engine. Names that do not exist are
// skipped, so that one of them cannot keep the others blocked.
//
// The engine puts a block with a mark of its own first, together with the
// setting, and takes that mark off when all shards have drained. Where they did
// not in time the mark stays, and with it the block when the setting goes: writes
// are refused, and nothing but the cluster's state tells. Such a block is made
// whole, and lifted then.
func (c *Client) UnblockWrites(ctx context.Context, names ...string) error {
	op := "lift the write block of " + described(names)
	if err := checkNames(op, names...); err != nil || len(names) == 0 {
		return err
	}
	if err := c.lift(ctx, op, names); err != nil {
		return err
	}
	held, err := c.stillBlocked(ctx, op, names)
	for try := 0; err == nil && len(held) > 0; try++ {
		if try == liftTries {
			return &upgrader.EngineError{Op: op, Status: http.StatusGatewayTimeout, Type: incompleteBlock, Reason: "still blocked: " + described(held)}
		}
		if _, err = c.BlockWrites(ctx, held...); err == nil {
			err = c.lift(ctx, op, held)
		}
		if err == nil {
			held, err = c.stillBlocked(ctx, op, held)
		}
	}
	return err
}

// writeBlockID is the id of the write block in the cluster's state.
const writeBlockID = "8"

// stillBlocked are those of the indices that refuse writes, whatever their
// settings say.
func (c *Client) stillBlocked(ctx context.Context, op string, names []string) (held []string, err error) {
	var state struct {
		Blocks struct {
			Indices map[string]map[string]any `json:"indices"`
		} `json:"blocks"`
	}
	// The engine knows no filter of blocks by index: as little of each as it can.
	err = c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_cluster/state/blocks", query: query("filter_path", "blocks.indices.*."+writeBlockID+".retryable"),
	})}, &state)
	for _, name := range names {
		if _, ok := state.Blocks.Indices[name][writeBlockID]; ok {
			held = append(held, name)
		}
	}
	return held, err
}

// lift removes the setting, and with it a block that is whole.
func (c *Client) lift(ctx context.Context, op string, names []string) error {
	body := []byte(`{"index.blocks.write":null}`)
	for _, part := range chunks(names) {
		err := c.change(ctx, op, c.settingsRequest(ctx, part, body))
		if is404(err, "index_not_found_exception") {
			err = c.unblockPresent(ctx, op, part, body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unblockPresent lifts the block one by one after a joint request was refused
// because of a missing index.
func (c *Client) unblockPresent(ctx context.Context, op string, names []string, body []byte) error {
	var failed []error
	for _, n := range names {
		err := c.change(ctx, op, c.settingsRequest(ctx, []string{n}, body))
		if err != nil && !is404(err, "index_not_found_exception") {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
