package upgrader

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
)

// ClusterView is what the plan needs to know of the cluster as a whole.
type ClusterView struct {
	Info   EngineInfo
	Shards capacity.Shards
	Now    time.Time
}

// TenantView is what the cluster holds of one tenant: the old version, the
// new one as far as it exists already, and the aliases.
type TenantView struct {
	Old      []Index               // sorted by name
	OldStats map[string]IndexStats // by index name
	New      []Index               // sorted by name
	NewStats map[string]IndexStats // by index name
	Aliases  map[string][]string   // alias -> indices
	// Own are targets that earlier rollouts made: what a rollback left.
	Own map[string]bool
	// Templates are the old version's; only read for minor upgrades.
	Templates []Template
}

// old finds indices of the old version by name.
func (v TenantView) old() func(name string) (Index, bool) {
	return func(name string) (Index, bool) {
		i, ok := slices.BinarySearchFunc(v.Old, name, func(ix Index, name string) int { return strings.Compare(ix.Name, name) })
		if !ok {
			return Index{}, false
		}
		return v.Old[i], true
	}
}

// lookAt reads a TenantView.
func lookAt(ctx context.Context, e Engine, tenant naming.Tenant, oldPrefix, newPrefix string) (TenantView, error) {
	var v TenantView
	var err error
	old := tenant.Patterns(oldPrefix, naming.Staging, naming.Production, naming.Static)
	// Indices refresh every 3 to 30 s: uncounted documents would make a
	// filled index look empty.
	if err := e.Refresh(ctx, old...); err != nil {
		return v, err
	}
	if v.Old, err = e.Indices(ctx, old...); err != nil {
		return v, err
	}
	if v.OldStats, err = e.Stats(ctx, old...); err != nil {
		return v, err
	}
	if newPrefix != oldPrefix {
		fresh := tenant.Patterns(newPrefix, naming.Staging, naming.Production, naming.Static)
		if v.New, err = e.Indices(ctx, fresh...); err != nil {
			return v, err
		}
		if len(v.New) > 0 {
			if v.NewStats, err = e.Stats(ctx, fresh...); err != nil {
				return v, err
			}
		}
	}
	v.Aliases, err = e.Aliases(ctx, tenant.AliasPatterns()...)
	return v, err
}

// tenantTemplates reads the templates of one version of a tenant.
func tenantTemplates(ctx context.Context, e Engine, r *releases.Release, tenant naming.Tenant) ([]Template, error) {
	var out []Template
	for _, m := range naming.Modes {
		ts, err := e.Templates(ctx, r.TemplateName(string(m), tenant.In(r.Prefix), "*"))
		if err != nil {
			return nil, err
		}
		out = append(out, ts...)
	}
	return out, nil
}
