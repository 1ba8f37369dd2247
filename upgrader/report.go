package upgrader

import (
	"context"
	"encoding/json"
	"time"
)

// Report is the record of a rollout, to be filed with a change ticket.
type Report struct {
	Rollout    *Rollout
	At         time.Time
	TMS        string // version that made the report
	Quarantine []QuarantineSum
	Exceptions []Exception
	Commands   []CommandGiven // the oldest first
	Errands    []Errand       // the oldest first
}

// Final says whether nothing happens to the rollout any more without a command.
func (r *Report) Final() bool { return r.Rollout.State.Ended() }

// QuarantineSum counts the quarantined documents of a tenant that should have
// gone to the same index.
type QuarantineSum struct {
	TenantID  string
	Kind      QuarantineKind
	Target    string
	Documents int64 // resolved ones included
	Resolved  int64
}

// Exception is a tenant that is not on the release.
type Exception struct {
	TenantID string
	State    TenantState
	Reason   string
}

// CommandGiven is an entry of the audit trail.
type CommandGiven struct {
	At     time.Time
	KeyID  string
	Action string
	Detail json.RawMessage
}

// Records tell what a report needs beside a rollout.
type Records interface {
	QuarantineSums(ctx context.Context, rollout string) ([]QuarantineSum, error)
	Commands(ctx context.Context, rollout string) ([]CommandGiven, error)
	// RolloutErrands are those of all tenants, the oldest first.
	RolloutErrands(ctx context.Context, rollout string) ([]Errand, error)
}

// WithRecords lets the service make reports.
func (s *Service) WithRecords(r Records) *Service {
	s.records = r
	return s
}

// Report makes the record of a rollout; of one that has not ended it is a draft.
func (s *Service) Report(ctx context.Context, id string) (*Report, error) {
	ro, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &Report{Rollout: ro, At: s.now(), TMS: ownVersion(), Exceptions: exceptions(ro)}
	if r.Quarantine, err = s.records.QuarantineSums(ctx, id); err != nil {
		return nil, err
	}
	if r.Commands, err = s.records.Commands(ctx, id); err != nil {
		return nil, err
	}
	r.Errands, err = s.records.RolloutErrands(ctx, id)
	return r, err
}

// exceptions are the tenants that are not on the rollout's release.
func exceptions(r *Rollout) []Exception {
	var out []Exception
	for _, t := range r.Tenants {
		if t.State == TenantSwitched || t.State == TenantFinalized {
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
