package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

func killPostgres(_ context.Context, s *site, _ strike) (func(context.Context) error, error) {
	s.postgres.Kill()
	return s.postgres.Start, nil
}

func restartPostgres(ctx context.Context, s *site, _ strike) (func(context.Context) error, error) {
	return nothing, s.postgres.Restart(ctx)
}

func killNode(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	node := s.engine.Nodes()[k.Target]
	node.Kill()
	return node.Start, nil
}

func pauseNode(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	node := s.engine.Nodes()[k.Target]
	if err := node.Pause(); err != nil {
		return nil, err
	}
	return func(context.Context) error { return node.Continue() }, nil
}

// fillShardBudget lowers the limit to what is there, so that no index more
// fits.
func fillShardBudget(ctx context.Context, s *site, _ strike) (func(context.Context) error, error) {
	const name = "cluster.max_shards_per_node"
	return s.transient(ctx, map[string]any{name: 1}, nil)
}

// raiseWatermark makes every disk look full. The engine looks at its disks
// every ten seconds at most, so the fault takes that long to show, and again
// to go: what it has closed by then is opened by the operator's hand.
func raiseWatermark(ctx context.Context, s *site, _ strike) (func(context.Context) error, error) {
	const disk = "cluster.routing.allocation.disk."
	return s.transient(ctx, map[string]any{
		disk + "threshold_enabled":     true,
		disk + "watermark.low":         "1000tb",
		disk + "watermark.high":        "1000tb",
		disk + "watermark.flood_stage": "1000tb",
		"cluster.info.update.interval": "10s",
	}, func(ctx context.Context) error {
		return s.eventually(ctx, func() error {
			_, err := s.askEngine(ctx, http.MethodPut, "/_all/_settings?expand_wildcards=all", map[string]any{"index.blocks.read_only_allow_delete": nil})
			return err
		})
	})
}

// transient changes cluster settings and gives what takes them back, with also
// done after that.
func (s *site) transient(ctx context.Context, settings map[string]any, also func(context.Context) error) (func(context.Context) error, error) {
	none := map[string]any{}
	for name := range settings {
		none[name] = nil
	}
	heal := func(ctx context.Context) error {
		err := s.eventually(ctx, func() error {
			_, err := s.askEngine(ctx, http.MethodPut, "/_cluster/settings", map[string]any{"transient": none})
			return err
		})
		if err == nil && also != nil {
			err = also(ctx)
		}
		return err
	}
	if _, err := s.askEngine(ctx, http.MethodPut, "/_cluster/settings", map[string]any{"transient": settings}); err != nil {
		return heal, nil //nolint:nilerr // the engine may be down now; what arrived is taken back
	}
	return heal, nil
}

// healLimit bounds the repair of a fault: the start of an engine on a busy
// machine takes longest.
const healLimit = 2 * time.Minute

// eventually repeats do until it succeeds.
func (s *site) eventually(ctx context.Context, do func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// refusal is an answer with a status of 400 or more.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %.300s", r.status, r.body) }

// askEngine asks the first node that answers, directly.
func (s *site) askEngine(ctx context.Context, method, path string, in any) ([]byte, error) {
	var last error
	for _, url := range s.engine.URLs() {
		out, err := s.call(ctx, method, url+path, "", in)
		var r *refusal
		if err == nil || errors.As(err, &r) && r.status < 500 {
			return out, err
		}
		last = err
	}
	return nil, last
}

// ask sends a REST call to a process.
func (s *site) ask(ctx context.Context, process int, method, path string, in any) ([]byte, error) {
	return s.call(ctx, method, "http://"+s.processes[process].server.HTTP()+path, s.keys.Admin, in)
}

func (s *site) call(ctx context.Context, method, url, key string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, &refusal{resp.StatusCode, string(raw)}
	}
	return raw, nil
}
