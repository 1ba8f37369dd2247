package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
)

// paperEngine answers for a fleet that exists on paper: every tenant has the
// whole layout of a release, with some months of documents. It answers what a
// plan asks; anything else is a fault of this program.
type paperEngine struct {
	upgrader.Engine // nil: whatever is not implemented here must not be called
	release         *releases.Release
	months          []string
}

func (e *paperEngine) Info(context.Context) (upgrader.EngineInfo, error) {
	return upgrader.EngineInfo{Product: "elasticsearch", Version: "7.17.29", DataNodes: 100, Flattened: "flattened"}, nil
}

func (e *paperEngine) Shards(context.Context) (capacity.Shards, error) {
	return capacity.Shards{Open: 1_000_000, MaxPerNode: 100_000, DataNodes: 100}, nil
}

func (e *paperEngine) Refresh(context.Context, ...string) error { return nil }

func (e *paperEngine) CheckIndex(context.Context, upgrader.IndexBody) error { return nil }

func (e *paperEngine) CheckScript(context.Context, string, map[string]any) error { return nil }

// each calls fn for every index of the tenant that patterns are about.
func (e *paperEngine) each(patterns []string, fn func(n naming.IndexName, r releases.Resource)) error {
	first, ok := naming.Parse(patterns[0])
	if !ok {
		return fmt.Errorf("%q names no tenant", patterns[0])
	}
	if first.Prefix != e.release.Prefix {
		return nil // nothing of the new version stands
	}
	for _, r := range e.release.Resources {
		modes := []naming.Mode{naming.Staging, naming.Production}
		if r.Static {
			modes = []naming.Mode{naming.Static}
		}
		parts := []string{""}
		if r.Partitioning != releases.Unpartitioned {
			parts = e.months
		}
		for _, m := range modes {
			for _, p := range parts {
				fn(naming.IndexName{Mode: m, Prefix: e.release.Prefix, Tenant: first.Tenant, Base: r.Base, Partition: p}, r)
			}
		}
	}
	return nil
}

func (e *paperEngine) Indices(_ context.Context, patterns ...string) ([]upgrader.Index, error) {
	var out []upgrader.Index
	err := e.each(patterns, func(n naming.IndexName, r releases.Resource) {
		out = append(out, upgrader.Index{Name: n.String(), Aliases: []string{n.Alias()}, Mapping: r.Mapping, Settings: r.Settings})
	})
	return out, err
}

func (e *paperEngine) Stats(_ context.Context, patterns ...string) (map[string]upgrader.IndexStats, error) {
	out := map[string]upgrader.IndexStats{}
	err := e.each(patterns, func(n naming.IndexName, _ releases.Resource) {
		out[n.String()] = upgrader.IndexStats{Docs: 100, Bytes: 1 << 18, Primaries: 1, Checkpoints: map[int]int64{0: 99}, MaxSeqNo: map[int]int64{0: 99}}
	})
	return out, err
}

func (e *paperEngine) Aliases(_ context.Context, patterns ...string) (map[string][]string, error) {
	tenant, _, _ := strings.Cut(patterns[0], ".")
	out := map[string][]string{}
	pattern := naming.IndexName{Prefix: e.release.Prefix, Tenant: tenant, Base: "*"}
	err := e.each([]string{pattern.String()}, func(n naming.IndexName, _ releases.Resource) {
		out[n.Alias()] = append(out[n.Alias()], n.String())
	})
	return out, err
}
