package upgrader

import "github.com/tracardi/tms/upgrader/capacity"

// Refusal says why something may not start, for one tenant or ("" TenantID)
// for the rollout as a whole.
type Refusal struct {
	Code     string `json:"code"` // "shard_limit", "tenant_without_indices", ...
	TenantID string `json:"tenant_id,omitempty"`
	Message  string `json:"message"`
	Remedy   string `json:"remedy"`
}

// Plan is what a rollout would do.
type Plan struct {
	ToRelease string
	Options   Options
	Tenants   []TenantPlan // sorted by TenantID
	Refusals  []Refusal
	// Clusters are those where the tenants live, sorted by name; Shards and
	// Forecast are their sums, as far as there is one.
	Clusters []ClusterPlan
	Shards   capacity.ShardForecast
	Forecast capacity.Forecast
	Waves    []Wave
	// WaveForecasts are the figures of Waves, in the same order.
	WaveForecasts []capacity.WaveForecast
	// Excepted tenants are left out on purpose; their reasons are in Options.
	Excepted []FleetTenant
	// Elsewhere are tenants that were named and live in none of
	// Options.Clusters: they are left out.
	Elsewhere []string
	// Behind is that of the rollout.
	Behind []string

	remarks []string // of a cluster's part, see ClusterPlan
}

// TenantPlan is the part of a plan that belongs to one tenant.
type TenantPlan struct {
	TenantID    string
	FromRelease string
	// Path lists every release on the way, the first and the last included;
	// one entry when the tenant is already there.
	Path   []string
	Moves  []PlannedMove // sorted by Target
	Shards int           // new shards, replicas included
	Record TenantRecord
	Notes  []string
	// Footprint is what it needs beside shards, and gives back.
	Footprint capacity.Footprint
	// Labels are those of the registry.
	Labels map[string]string
	// Wave and Position are where the tenant goes; 0 when it has nothing to do.
	Wave, Position int
}
