package upgrader

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/tracardi/tms/upgrader/stream"
)

// identify notes which cluster and which indices a proof is about: an index
// that was deleted and made again has the same name, but another id.
func (s *session) identify(ctx context.Context, p *Proof) error {
	info, err := s.engine.Info(ctx)
	if err != nil {
		return err
	}
	all, err := s.engine.Indices(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	p.Engine = fmt.Sprintf("%s %s", info.Product, info.Version)
	p.ClusterUUID, p.ClusterName, p.TMS = info.ClusterUUID, info.ClusterName, Build()
	ours := map[string]bool{}
	for _, m := range s.moves {
		ours[m.Target] = true
		for _, c := range m.Copies {
			ours[c.Source] = true
		}
	}
	p.UUIDs = map[string]string{}
	for _, ix := range all {
		if ours[ix.Name] {
			p.UUIDs[ix.Name] = ix.UUID
		}
	}
	return nil
}

// Build is what this binary was built from.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, set := range info.Settings {
		if set.Key == "vcs.revision" && version == "(devel)" {
			version = set.Value
		}
	}
	return version
}

// digestOf says what the digest of a move is of.
func digestOf(m *Move) DigestOf {
	if m.Digest == "" {
		return ""
	}
	for _, c := range m.Copies {
		if stream.Beyond(m.DigestAt[c.Source], c.Checkpoint) {
			return DigestAtComparison
		}
	}
	return DigestAtFence
}

// ProofSheet is everything that is known about one tenant's proof.
type ProofSheet struct {
	RolloutID  string
	ToRelease  string
	Tenant     RolloutTenant
	Errands    []Errand   // newest first, a few
	Mismatches []Mismatch // the first mostShown
	// More says that there are more mismatches.
	More bool
}

// mostShown bounds the mismatches and errands of a ProofSheet.
const (
	mostShown   = 100
	mostErrands = 10
)

// Proof returns the proof of a tenant in a rollout; rollout "" is the latest
// that moved the tenant's data.
func (s *Service) Proof(ctx context.Context, rollout, tenant string) (*ProofSheet, error) {
	if rollout == "" {
		id, err := s.store.LatestRollout(ctx, tenant)
		if errors.Is(err, ErrNotFound) {
			return nil, &ServiceError{Reason: ReasonNotFound, Field: "tenant", Message: fmt.Sprintf("tenant %q was never upgraded", tenant), Remedy: "see `tms upgrade list`", Err: err}
		}
		if err != nil {
			return nil, err
		}
		rollout = id
	}
	r, err := s.Get(ctx, rollout)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(r.Tenants, func(t RolloutTenant) bool { return t.TenantID == tenant })
	if i < 0 {
		return nil, noSuchTenant(rollout, tenant)
	}
	sheet := &ProofSheet{RolloutID: r.ID, ToRelease: r.ToRelease, Tenant: r.Tenants[i]}
	if sheet.Errands, err = s.store.Errands(ctx, rollout, tenant, mostErrands); err != nil {
		return nil, err
	}
	sheet.Mismatches, err = s.store.Mismatches(ctx, MismatchFilter{RolloutID: rollout, TenantID: tenant, Limit: mostShown + 1})
	if len(sheet.Mismatches) > mostShown {
		sheet.Mismatches, sheet.More = sheet.Mismatches[:mostShown], true
	}
	return sheet, err
}

// Mismatches lists mismatches of a rollout. With values they carry both
// documents as they are now: one more right is needed to see these.
func (s *Service) Mismatches(ctx context.Context, f MismatchFilter, values bool) ([]Mismatch, error) {
	r, err := s.Get(ctx, f.RolloutID)
	if err != nil {
		return nil, err
	}
	found, err := s.store.Mismatches(ctx, f)
	if err != nil || !values {
		return found, err
	}
	for i := range found {
		if err := s.addValues(ctx, r, &found[i]); err != nil {
			return nil, unavailable(r.clusterOf(found[i].TenantID), err)
		}
	}
	return found, nil
}

// addValues reads both documents of a mismatch.
func (s *Service) addValues(ctx context.Context, r *Rollout, x *Mismatch) error {
	i := slices.IndexFunc(r.Tenants, func(t RolloutTenant) bool { return t.TenantID == x.TenantID })
	if i < 0 {
		return nil
	}
	l, err := newLayout(s.catalogue, r.Tenants[i].FromRelease, r.ToRelease)
	if err != nil {
		return err
	}
	moves, err := s.store.Moves(ctx, r.ID, x.TenantID)
	if err != nil {
		return err
	}
	m := slices.IndexFunc(moves, func(m Move) bool { return m.Target == x.Target })
	if m < 0 {
		return nil
	}
	engine, err := s.engines.For(ctx, r.Tenants[i].Cluster)
	if err != nil {
		return err
	}
	have, err := engine.Get(ctx, x.Target, []string{x.ID})
	if err != nil {
		return err
	}
	x.Have = string(have[x.ID].Source)
	reader := &session{l: l}
	for i := range moves {
		reader.moves = append(reader.moves, &moves[i])
	}
	for _, c := range moves[m].Copies {
		want, err := engine.Get(ctx, c.Source, []string{x.ID})
		if err != nil {
			return err
		}
		if d, ok := want[x.ID]; ok {
			if t := reader.transform(&moves[m], c.Source, d.Source); !t.elsewhere {
				x.Want = string(t.source)
			}
		}
	}
	return nil
}
