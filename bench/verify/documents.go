package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// fillPage is how many documents are written at once.
const fillPage = 2_000

// fill writes the source and lets the engine copy it into every target.
func (b *bench) fill(ctx context.Context) error {
	body := upgrader.IndexBody{
		Settings: map[string]any{"number_of_replicas": 0, "refresh_interval": "-1"},
		Mappings: map[string]any{"dynamic": false}, // what is measured does not depend on what is indexed
	}
	for _, name := range b.names() {
		if err := b.engine.CreateIndex(ctx, name, body); err != nil {
			return err
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < b.docs; n += fillPage {
		ops := make([]upgrader.BulkOp, 0, fillPage)
		for i := n; i < min(n+fillPage, b.docs); i++ {
			raw, err := json.Marshal(event(rnd, i))
			if err != nil {
				return err
			}
			b.bytes += int64(len(raw))
			ops = append(ops, upgrader.BulkOp{Index: b.source, ID: fmt.Sprintf("%016x-%d", rnd.Uint64(), i), Source: raw})
		}
		results, err := b.engine.Bulk(ctx, ops)
		if err != nil {
			return err
		}
		for _, r := range results {
			if !r.OK {
				return fmt.Errorf("fill: %s: %s", r.Type, r.Reason)
			}
		}
	}
	if err := b.engine.Refresh(ctx, b.source); err != nil {
		return err
	}
	for _, p := range b.pairs {
		script, params := p.transform.Painless()
		id, err := b.engine.StartReindex(ctx, upgrader.Reindex{Source: b.source, Target: p.target, Script: script, Params: params, Slices: 1})
		if err != nil {
			return err
		}
		if err := b.wait(ctx, id); err != nil {
			return err
		}
	}
	return b.engine.Refresh(ctx, b.names()...)
}

func (b *bench) wait(ctx context.Context, task string) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		t, err := b.engine.ReindexTask(ctx, task)
		switch {
		case err != nil:
			return err
		case t.Err != "" || len(t.Failures) > 0:
			return errors.New("copy: " + t.Err + fmt.Sprint(t.Failures))
		case t.Completed:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// event is a document of the shape and size of Tracardi's events.
func event(rnd *rand.Rand, i int) map[string]any {
	at := time.Unix(1_700_000_000+int64(i), 0).UTC()
	word := func() string { return fmt.Sprintf("%x", rnd.Uint64()) }
	props := map[string]any{}
	for k := range 12 {
		props[fmt.Sprintf("property_%d", k)] = word() + " " + word()
	}
	return map[string]any{
		"id": word(), "name": "Page view", "type": "page-view", "valid": true,
		"metadata": map[string]any{
			"time": map[string]any{"insert": at.Format(time.RFC3339Nano), "create": nil, "process_time": rnd.Float64(), "total_time": rnd.Float64()},
			"ip":   "10.0.0.1", "status": "processed", "channel": "Web", "valid": true, "warning": false, "error": false,
			"processed_by": map[string]any{"rules": []string{word(), word()}, "flows": []string{}, "third_party": []string{}},
		},
		"source": map[string]any{"id": word()}, "session": map[string]any{"id": word(), "start": at, "duration": rnd.IntN(3600)},
		"profile": map[string]any{"id": word()}, "properties": props,
		"traits":  map[string]any{"score": rnd.Float64() * 100, "visits": rnd.IntN(1000), "tags": []string{word(), word(), word()}},
		"context": map[string]any{"page": map[string]any{"url": "https://example.com/" + word(), "title": word() + " " + word(), "history": map[string]any{"length": rnd.IntN(50)}}},
		"request": map[string]any{"headers": map[string]any{"user-agent": "Mozilla/5.0 (X11; Linux x86_64) " + word(), "accept": "*/*"}},
		"data": map[string]any{
			"contact": map[string]any{"email": word() + "@example.com", "phone": nil, "address": map[string]any{"town": word(), "country": "DE"}},
			"pii":     map[string]any{"name": word(), "surname": word(), "birthday": nil},
			"ec": map[string]any{"order": map[string]any{
				"id": word(), "status": "paid", "income": map[string]any{"revenue": rnd.Float64() * 100, "value": nil}, "cost": map[string]any{"tax": rnd.Float64(), "shipping": 4.9},
			}},
			"media": map[string]any{"image": "https://example.com/" + word(), "webpage": word()},
		},
		"tags": map[string]any{"values": []string{word()}, "count": 1}, "config": map[string]any{}, "ux": []any{}, "aux": map[string]any{},
	}
}
