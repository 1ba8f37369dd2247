package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// notAcknowledged is the Type of an EngineError (status 504) for an answer in
// which the engine says that it did not finish in time; the change may still
// take effect.
const notAcknowledged = "not_acknowledged"

// maxReason bounds the engine's words in an error: some answers quote whole
// documents.
const maxReason = 2000

// exception is the engine's error object.
type exception struct {
	Type        string      `json:"type"`
	Reason      string      `json:"reason"`
	ScriptStack []string    `json:"script_stack"`
	RootCause   []exception `json:"root_cause"`
	CausedBy    *exception  `json:"caused_by"`
	// FailedShards say what "all shards failed" means.
	FailedShards []struct {
		Reason *exception `json:"reason"`
	} `json:"failed_shards"`
}

// UnmarshalJSON also takes the bare string that a few APIs answer with.
func (e *exception) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &e.Reason)
	}
	type plain exception
	return json.Unmarshal(b, (*plain)(e))
}

// words is the root cause's reason, followed by the innermost cause when that
// says something new, and by the place in a script.
func (e *exception) words() (kind, reason string) {
	root := e
	if len(e.RootCause) > 0 {
		root = &e.RootCause[0]
	}
	kind, reason = root.Type, root.Reason
	if len(root.ScriptStack) > 0 {
		reason += " at " + strings.TrimSpace(strings.Join(root.ScriptStack, " "))
	}
	if inner := e.innermost(); inner.Reason != "" && !strings.Contains(reason, inner.Reason) {
		reason += ": " + inner.Reason
	}
	return kind, shortened(reason)
}

func (e *exception) innermost() *exception {
	for {
		switch {
		case e.CausedBy != nil:
			e = e.CausedBy
		case len(e.FailedShards) > 0 && e.FailedShards[0].Reason != nil:
			e = e.FailedShards[0].Reason
		default:
			return e
		}
	}
}

func shortened(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + " …"
}

// refusal makes the error of an answer with an error status. Answers that are
// not the engine's JSON come from proxies, or from its HTTP layer (413).
func refusal(op string, a answer) error {
	e := &upgrader.EngineError{Op: op, Status: a.status}
	var body struct {
		Error *exception `json:"error"`
	}
	if err := json.Unmarshal(a.body, &body); err == nil && body.Error != nil {
		e.Type, e.Reason = body.Error.words()
	}
	if e.Type == "" {
		e.Type = strings.ReplaceAll(strings.ToLower(http.StatusText(a.status)), " ", "_")
	}
	if e.Reason == "" {
		e.Reason = http.StatusText(a.status)
	}
	return e
}

// unreachable makes the error of a call without a complete answer. The URL is
// cut from net/http's error: it says nothing that Op does not.
func unreachable(ctx context.Context, op string, start time.Time, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		err = fmt.Errorf("no complete answer within %v: %w", time.Since(start).Round(time.Millisecond), cause)
	case cause != nil:
		err = fmt.Errorf("call given up: %w", cause)
	}
	return &upgrader.EngineError{Op: op, Err: err}
}

// acknowledgement is the answer to a cluster-state update.
type acknowledgement struct {
	Acknowledged bool `json:"acknowledged"`
}

func (a acknowledgement) check(op string) error {
	if a.Acknowledged {
		return nil
	}
	return &upgrader.EngineError{
		Op: op, Status: http.StatusGatewayTimeout, Type: notAcknowledged,
		Reason: "the cluster did not finish the change in time; it may still take effect",
	}
}

// shardResult is the "_shards" part of an answer.
type shardResult struct {
	Total      int               `json:"total"`
	Successful int               `json:"successful"`
	Failed     int               `json:"failed"`
	Failures   []json.RawMessage `json:"failures"`
}

// check refuses answers that only some shards contributed to.
func (s shardResult) check(op string) error {
	if s.Failed == 0 {
		return nil
	}
	e := &upgrader.EngineError{
		Op: op, Status: http.StatusServiceUnavailable, Type: "shards_failed",
		Reason: fmt.Sprintf("%d of %d shards failed", s.Failed, s.Total),
	}
	if len(s.Failures) > 0 {
		var f struct {
			Reason exception `json:"reason"`
		}
		if json.Unmarshal(s.Failures[0], &f) == nil {
			_, reason := f.Reason.words()
			e.Reason += ", the first with: " + reason
		}
	}
	return e
}

// is404 says whether err is the engine's "not found" of the given type.
func is404(err error, kind string) bool {
	var e *upgrader.EngineError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Type == kind
}
