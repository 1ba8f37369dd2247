package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
)

// Bounds of the repetition of idempotent calls. They bridge a dropped
// connection or a full queue; longer troubles are the caller's to wait out.
const (
	maxTries     = 5
	maxRetryTime = 5 * time.Second
	firstBackoff = 50 * time.Millisecond
)

// call is one request to the engine.
type call struct {
	op string // in words, for errors: "create index a"
	// request makes the request anew for every try (bodies are read once).
	request func() esapi.Request
	// once forbids repetition: the call is not idempotent.
	once bool
	// accept lists statuses above 299 that are answers, not errors.
	accept []int
	// into is memory for the answer, grown where it does not suffice; nil for
	// memory of its own.
	into []byte
}

// answer is a complete response.
type answer struct {
	status int
	body   []byte
}

// bounded gives ctx the deadline of one call, unless it has an earlier one: that
// of a whole job is no bound for a call that is never answered.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.most(ctx))
}

// patience is the key of the time that a slow call may take.
type patience struct{}

// patient is bounded for calls for which the engine reads a repository.
func (c *Client) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return c.bounded(context.WithValue(ctx, patience{}, listTimeout))
}

// most is the longest time that a call may take.
func (c *Client) most(ctx context.Context) time.Duration {
	if slow, ok := ctx.Value(patience{}).(time.Duration); ok {
		return max(slow, c.timeout)
	}
	return c.timeout
}

// engineTimeout is the time that the engine is given for a cluster-state
// update: a little less than ours, so that its own answer comes first.
func (c *Client) engineTimeout(ctx context.Context) time.Duration {
	left := c.most(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	return max(left*9/10, 10*time.Millisecond).Round(time.Millisecond)
}

// engineLimit is engineTimeout in the engine's notation, which knows neither
// fractions nor Go's "1m30s".
func (c *Client) engineLimit(ctx context.Context) string {
	return strconv.FormatInt(c.engineTimeout(ctx).Milliseconds(), 10) + "ms"
}

// do performs a call after it has made sure that the cluster is of a
// supported version, and decodes the answer into out unless out is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	res, err := c.fetch(ctx, k)
	if err != nil || out == nil {
		return err
	}
	return decode(k.op, res.body, out)
}

func decode(op string, body []byte, out any) error {
	if err := json.Unmarshal(body, out); err != nil {
		return &upgrader.EngineError{Op: op, Err: fmt.Errorf("answer is not the JSON expected: %w", err)}
	}
	return nil
}

// fetch is do without decoding.
func (c *Client) fetch(ctx context.Context, k call) (answer, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if _, err := c.identify(ctx); err != nil {
		return answer{}, err
	}
	return c.perform(ctx, k)
}

// perform makes the call, repeating it where that is allowed and may help.
func (c *Client) perform(ctx context.Context, k call) (answer, error) {
	if k.once {
		return c.try(ctx, k)
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = firstBackoff
	pause.MaxInterval = maxRetryTime / 4
	tries := 0
	var last error
	res, err := backoff.Retry(ctx, func() (answer, error) {
		tries++
		res, err := c.try(ctx, k)
		if err == nil {
			return res, nil
		}
		last = err
		if !worthRepeating(ctx, err) {
			return answer{}, backoff.Permanent(err)
		}
		c.log.DebugContext(ctx, "search engine call failed, may be repeated",
			"op", k.op, "try", tries, "error", err)
		return answer{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(maxRetryTime))
	switch {
	case err == nil:
		return res, nil
	case last == nil:
		return answer{}, unreachable(ctx, k.op, time.Now(), err)
	case ctx.Err() != nil && !errors.Is(last, ctx.Err()):
		return answer{}, fmt.Errorf("%w (given up: %w)", last, ctx.Err())
	}
	return answer{}, last
}

func worthRepeating(ctx context.Context, err error) bool {
	var e *upgrader.EngineError
	if ctx.Err() != nil || !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// try makes the call once and reads the whole answer.
func (c *Client) try(ctx context.Context, k call) (answer, error) {
	start := time.Now()
	res, err := k.request().Do(ctx, c)
	if err != nil {
		return answer{}, unreachable(ctx, k.op, start, err)
	}
	defer res.Body.Close()
	buf := bytes.NewBuffer(k.into[:0])
	if n := contentLength(res); n > 0 {
		buf.Grow(n + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(res.Body); err != nil {
		return answer{}, unreachable(ctx, k.op, start, fmt.Errorf("answer broke off: %w", err))
	}
	a := answer{status: res.StatusCode, body: buf.Bytes()}
	if a.status < 300 || slices.Contains(k.accept, a.status) {
		return a, nil
	}
	return answer{}, refusal(k.op, a)
}

// contentLength is the announced size of the answer, bounded so that a wrong
// header cannot make us allocate the machine away.
func contentLength(res *esapi.Response) int {
	const most = 64 << 20
	n, err := strconv.Atoi(res.Header.Get("Content-Length"))
	if err != nil || n < 0 || n > most {
		return 0
	}
	return n
}

// request is a plain request for what esapi's structs lack or would send in a
// form that old servers refuse.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// Do implements esapi.Request.
func (r request) Do(ctx context.Context, t esapi.Transport) (*esapi.Response, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	u := url.URL{Path: r.path, RawQuery: r.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := t.Perform(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{StatusCode: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}

// fixed makes call.request from a request that may be sent repeatedly.
func fixed(r request) func() esapi.Request {
	return func() esapi.Request { return r }
}

// query makes url.Values from pairs.
func query(pairs ...string) url.Values {
	q := make(url.Values, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// ndjson is the type of _bulk and _msearch bodies.
var ndjson = http.Header{"Content-Type": {"application/x-ndjson"}}

// marshal encodes a body made of maps, strings and numbers, which cannot fail
// except for a caller's value that has no JSON form.
func marshal(op string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return b, nil
}

func ptr[T any](v T) *T { return &v }

func joined(names []string) string { return strings.Join(names, ",") }
