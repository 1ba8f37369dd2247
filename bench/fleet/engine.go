package main

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// meteredEngine passes every call on and notes its time.
type meteredEngine struct {
	upgrader.Engine
	m *meter
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func (e meteredEngine) Indices(ctx context.Context, patterns ...string) ([]upgrader.Index, error) {
	defer e.m.asked("Indices", first(patterns), time.Now())
	return e.Engine.Indices(ctx, patterns...)
}

func (e meteredEngine) Stats(ctx context.Context, patterns ...string) (map[string]upgrader.IndexStats, error) {
	defer e.m.asked("Stats", first(patterns), time.Now())
	return e.Engine.Stats(ctx, patterns...)
}

func (e meteredEngine) Aliases(ctx context.Context, patterns ...string) (map[string][]string, error) {
	defer e.m.asked("Aliases", first(patterns), time.Now())
	return e.Engine.Aliases(ctx, patterns...)
}

func (e meteredEngine) Templates(ctx context.Context, pattern string) ([]upgrader.Template, error) {
	defer e.m.asked("Templates", pattern, time.Now())
	return e.Engine.Templates(ctx, pattern)
}

func (e meteredEngine) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	defer e.m.asked("CreateIndex", name, time.Now())
	return e.Engine.CreateIndex(ctx, name, body)
}

func (e meteredEngine) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	defer e.m.asked("Clone", source, time.Now())
	return e.Engine.Clone(ctx, source, target, settings)
}

func (e meteredEngine) PutMapping(ctx context.Context, mapping map[string]any, names ...string) error {
	defer e.m.asked("PutMapping", first(names), time.Now())
	return e.Engine.PutMapping(ctx, mapping, names...)
}

func (e meteredEngine) DeleteIndices(ctx context.Context, names ...string) error {
	defer e.m.asked("DeleteIndices", first(names), time.Now())
	return e.Engine.DeleteIndices(ctx, names...)
}

func (e meteredEngine) PutSettings(ctx context.Context, settings map[string]any, names ...string) error {
	defer e.m.asked("PutSettings", first(names), time.Now())
	return e.Engine.PutSettings(ctx, settings, names...)
}

func (e meteredEngine) PutTemplate(ctx context.Context, t upgrader.Template) error {
	defer e.m.asked("PutTemplate", t.Name, time.Now())
	return e.Engine.PutTemplate(ctx, t)
}

func (e meteredEngine) DeleteTemplate(ctx context.Context, name string) error {
	defer e.m.asked("DeleteTemplate", name, time.Now())
	return e.Engine.DeleteTemplate(ctx, name)
}

func (e meteredEngine) BlockWrites(ctx context.Context, patterns ...string) ([]string, error) {
	defer e.m.asked("BlockWrites", first(patterns), time.Now())
	return e.Engine.BlockWrites(ctx, patterns...)
}

func (e meteredEngine) UnblockWrites(ctx context.Context, names ...string) error {
	defer e.m.asked("UnblockWrites", first(names), time.Now())
	return e.Engine.UnblockWrites(ctx, names...)
}

func (e meteredEngine) UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error {
	name := ""
	if len(actions) > 0 {
		name = actions[0].Index
	}
	defer e.m.asked("UpdateAliases", name, time.Now())
	return e.Engine.UpdateAliases(ctx, actions)
}

func (e meteredEngine) Refresh(ctx context.Context, patterns ...string) error {
	defer e.m.asked("Refresh", first(patterns), time.Now())
	return e.Engine.Refresh(ctx, patterns...)
}

func (e meteredEngine) Count(ctx context.Context, names ...string) (map[string]int64, error) {
	defer e.m.asked("Count", first(names), time.Now())
	return e.Engine.Count(ctx, names...)
}

func (e meteredEngine) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	defer e.m.asked("StartReindex", r.Source, time.Now())
	id, err := e.Engine.StartReindex(ctx, r)
	e.m.task(id, r.Source)
	return id, err
}

func (e meteredEngine) ReindexTasks(ctx context.Context, prefix string) ([]upgrader.ReindexTask, error) {
	defer e.m.asked("ReindexTasks", prefix, time.Now())
	return e.Engine.ReindexTasks(ctx, prefix)
}

func (e meteredEngine) ReindexTask(ctx context.Context, id string) (upgrader.ReindexTask, error) {
	defer e.m.asked("ReindexTask", id, time.Now())
	return e.Engine.ReindexTask(ctx, id)
}

func (e meteredEngine) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	op := "Page"
	if p.IDsOnly {
		op = "Page (ids)"
	}
	defer e.m.asked(op, p.Index, time.Now())
	return e.Engine.Page(ctx, p)
}

func (e meteredEngine) Fetch(ctx context.Context, shard, most int, indices ...string) ([]stream.Doc, bool, error) {
	defer e.m.asked("Fetch", first(indices), time.Now())
	return e.Engine.Fetch(ctx, shard, most, indices...)
}

func (e meteredEngine) SeqNoCounts(ctx context.Context, index string, shard int, to, width int64) (map[int64]int64, error) {
	defer e.m.asked("SeqNoCounts", index, time.Now())
	return e.Engine.SeqNoCounts(ctx, index, shard, to, width)
}

func (e meteredEngine) Get(ctx context.Context, index string, ids []string) (map[string]stream.Doc, error) {
	defer e.m.asked("Get", index, time.Now())
	return e.Engine.Get(ctx, index, ids)
}

func (e meteredEngine) FindIDs(ctx context.Context, indices, ids []string) (map[string][]string, error) {
	defer e.m.asked("FindIDs", first(indices), time.Now())
	return e.Engine.FindIDs(ctx, indices, ids)
}

func (e meteredEngine) Bulk(ctx context.Context, ops []upgrader.BulkOp) ([]upgrader.BulkResult, error) {
	name := ""
	if len(ops) > 0 {
		name = ops[0].Index
	}
	defer e.m.asked("Bulk", name, time.Now())
	return e.Engine.Bulk(ctx, ops)
}
