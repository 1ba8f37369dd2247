package upgrader

import "context"

// limits are the documents per second that clusters let through now, where that
// is limited, and whether everything is stopped.
func (s *Service) limits(ctx context.Context) (limits map[string]float64, stopped bool, err error) {
	if s.budgets == nil {
		return nil, false, nil
	}
	all, stop, err := s.budgets.Budgets(ctx)
	if err != nil {
		return nil, false, err
	}
	out := map[string]float64{}
	for _, b := range all {
		if b.Allowance.DocumentsPerSecond > 0 {
			out[b.Cluster] = b.Allowance.DocumentsPerSecond
		}
	}
	return out, stop != nil, nil
}

// countedTimes is how often a cluster's limit counts each document: once to be copied
// and, compared in full, once for each side.
func countedTimes(level VerifyLevel) float64 {
	if level == VerifyFull {
		return 3
	}
	return 1
}

// owed are the documents of a tenant that a cluster's limit has yet to let
// through, each as often as it counts.
func owed(r *Rollout, t *RolloutTenant, a Amount) float64 {
	compared := (countedTimes(r.Options.Verify) - 1) * float64(a.DocsTotal)
	switch t.State {
	case TenantPlanned, TenantPrepared, TenantCopying:
		return float64(a.DocsTotal-a.Docs) + compared
	case TenantCopied:
		return compared
	}
	return 0
}

// throttled is the least time in seconds that a tenant takes yet by the limits
// that are in force: that of its cluster, were it alone there, and that of the
// rollout for each copy, as far as copies are known.
func (m measures) throttled(r *Rollout, t *RolloutTenant, tp TenantProgress) float64 {
	least := 0.0
	if limit := m.limits[t.Cluster]; limit > 0 {
		least = owed(r, t, tp.Amount) / limit
	}
	if rate := r.Options.RequestsPerSecond; rate > 0 {
		for _, ix := range tp.Indices {
			least = max(least, float64(ix.DocsTotal-ix.Docs)/rate)
		}
	}
	return least
}
