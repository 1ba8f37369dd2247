// Package report makes the record of a rollout, to be filed with a change
// ticket: what was asked for and by whom, what became of each tenant, how it was
// proven, what was set aside, and what was checked since. It reads rollouts as
// everybody may, and changes nothing.
package report

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// Report is the record of a rollout, to be filed with a change ticket.
type Report struct {
	Rollout    *upgrader.Rollout
	At         time.Time
	TMS        string // version that made the report
	Quarantine []QuarantineSum
	Exceptions []Exception
	Commands   []CommandGiven    // the oldest first
	Errands    []upgrader.Errand // the oldest first
}

// Final says whether nothing happens to the rollout any more without a command.
func (r *Report) Final() bool { return r.Rollout.State.Ended() }

// QuarantineSum counts the quarantined documents of a tenant that should have
// gone to the same index.
type QuarantineSum struct {
	TenantID  string
	Kind      upgrader.QuarantineKind
	Target    string
	Documents int64 // resolved ones included
	Resolved  int64 // by a redrive or an operator
}

// Exception is a tenant that is not on the release.
type Exception struct {
	TenantID string
	State    upgrader.TenantState
	Reason   string
}

// CommandGiven is an entry of the audit trail.
type CommandGiven struct {
	At     time.Time
	KeyID  string
	Action string
	Detail json.RawMessage // an object, or empty
}

// Records tell what a report needs beside a rollout.
type Records interface {
	// QuarantineSums are those of all tenants, by tenant, kind and target.
	QuarantineSums(ctx context.Context, rollout string) ([]QuarantineSum, error)
	// Commands are those given to the rollout, the oldest first.
	Commands(ctx context.Context, rollout string) ([]CommandGiven, error)
	// RolloutErrands are those of all tenants, the oldest first.
	RolloutErrands(ctx context.Context, rollout string) ([]upgrader.Errand, error)
}

// Rollouts is where rollouts are read from, *upgrader.Service.
type Rollouts interface {
	Get(ctx context.Context, id string) (*upgrader.Rollout, error)
}

// Reporter makes reports. Safe for concurrent use.
type Reporter struct {
	rollouts Rollouts
	records  Records
}

// NewReporter wires a Reporter from where rollouts and their records are read.
func NewReporter(rollouts Rollouts, records Records) *Reporter {
	return &Reporter{rollouts: rollouts, records: records}
}

// Report makes the record of a rollout; of one that has not ended it is a draft.
// A rollout that there is not is an *upgrader.ServiceError.
func (m *Reporter) Report(ctx context.Context, id string) (*Report, error) {
	ro, err := m.rollouts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &Report{Rollout: ro, At: time.Now(), TMS: upgrader.Build(), Exceptions: exceptions(ro)}
	if r.Quarantine, err = m.records.QuarantineSums(ctx, id); err != nil {
		return nil, err
	}
	if r.Commands, err = m.records.Commands(ctx, id); err != nil {
		return nil, err
	}
	r.Errands, err = m.records.RolloutErrands(ctx, id)
	return r, err
}

// exceptions are the tenants that are not on the rollout's release.
func exceptions(r *upgrader.Rollout) []Exception {
	var out []Exception
	for _, t := range r.Tenants {
		if t.State == upgrader.TenantSwitched || t.State == upgrader.TenantFinalized {
			continue
		}
		why := t.Reason
		if t.Excepted != "" {
			why = "excepted: " + t.Excepted
		}
		if why == "" && !t.State.Ended() {
			why = "not there yet"
		}
		out = append(out, Exception{t.TenantID, t.State, why})
	}
	for _, m := range r.Missing {
		out = append(out, Exception{m.TenantID, "missing", m.Reason})
	}
	return out
}
