package upgrader

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader/budget"
)

// WaveStore keeps waves and lets tenants in.
type WaveStore interface {
	// Conducted lists rollouts that have waves and have not ended.
	Conducted(ctx context.Context) ([]string, error)
	// View reads what has to be known of a rollout as a whole.
	View(ctx context.Context, rollout string) (*View, error)
	// Conduct locks the rollout, reads the view anew and carries out what
	// decide says, in one transaction. A nil decision changes nothing.
	Conduct(ctx context.Context, rollout string, decide func(*View) *Decision) error
	// ClaimChecks gives the right to make the checks of a wave to one process
	// at a time; false when another one has it.
	ClaimChecks(ctx context.Context, rollout string, wave int, ttl time.Duration) (bool, error)
	// SaveChecks stores a round of results and gives the right back.
	SaveChecks(ctx context.Context, rollout string, wave int, results []CheckResult) error
	// WaveTenants returns the tenants of a wave that are switched.
	WaveTenants(ctx context.Context, rollout string, wave int) ([]FleetTenant, error)
}

// View is a rollout as a whole.
type View struct {
	// Rollout has its waves with their tallies, but not its tenants.
	Rollout *Rollout
	Stop    *budget.Stop // the kill switch; nil when it is off. Rollout.Wish is WishStop then
	// Candidates wait in waves that have begun, in the order in which they are
	// to start; at most MostCandidates of each cluster.
	Candidates []Candidate
	// Waiting says in which clusters tenants of a wave wait.
	Waiting map[int][]string
	// Loads by cluster.
	Loads map[string]ClusterLoad
	// Gone wait and are deleted from the registry.
	Gone []string
	// Inactive wait and are suspended or expired, with their state; only when
	// the strategy excepts them.
	Inactive map[string]string
	// Outsiders are on a release of Rollout.Behind and not part of the rollout:
	// at most MostCandidates, those first that Rollout.Missing does not name.
	Outsiders []FleetTenant
	// StillMissing are those of Rollout.Missing that are outsiders yet.
	StillMissing []string
}

// MostCandidates bounds View.Candidates: more than can be let in at once.
const MostCandidates = 2 * MaxMaxTenants

// WaveHome names the tenants of a wave in one cluster.
type WaveHome struct {
	Wave    int
	Cluster string
}

// Decision is what to do about a rollout.
type Decision struct {
	// Waves that have changed, by number.
	Waves []Wave
	// Pause says why the rollout is paused; "" leaves the wish alone.
	Pause string
	// LetIn are tenants that may start.
	LetIn []string
	// Except are tenants that wait no more, with the reason.
	Except map[string]string
	// StopReason cancels, with this reason, everything that waits.
	StopReason string
	// Reasons of tenants that wait; WaveReasons are those of whole waves, for
	// tenants that Reasons does not name.
	Reasons     map[string]string
	WaveReasons map[WaveHome]string
	// Join are tenants that become part of the rollout, with their moves.
	Join      []RolloutTenant
	JoinMoves map[string][]Move
	// Missing replaces Rollout.Missing when SetMissing is true.
	Missing    []MissingTenant
	SetMissing bool
	// Events are what happened, in words, for the audit trail.
	Events []string
}
