package tenants

import (
	"context"
	"fmt"
)

// Bounds of batch calls.
const (
	MaxBatchGet   = 1000
	MaxBatchCheck = 1000
)

// Get returns one tenant, deleted or purged or not. It answers from memory
// like Check; what is not there is looked for in the store, because a tenant
// that another process has just made must be found.
func (s *Service) Get(ctx context.Context, id string) (*Tenant, error) {
	if possible := ValidateID(id) == nil; !possible {
		return nil, NotFoundError(id)
	}
	t, err := s.mirror.tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	if t == nil {
		if t, err = s.store.Tenant(ctx, id); err != nil {
			return nil, err
		}
	}
	return t.Clone(), nil
}

// GetRevision returns a tenant as it is now, at least as new as the revision:
// who has heard of a change must not read what was before it.
func (s *Service) GetRevision(ctx context.Context, id string, revision int64) (*Tenant, error) {
	t, err := s.mirror.tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	if t != nil && t.Revision >= revision {
		return t.Clone(), nil
	}
	if t, err = s.store.Tenant(ctx, id); err != nil {
		return nil, err
	}
	s.mirror.putTenant(t)
	return t, nil
}

// BatchGet returns the tenants in the order of the ids; one that is missing
// fails the call (AIP-231).
func (s *Service) BatchGet(ctx context.Context, ids []string) ([]*Tenant, error) {
	if len(ids) > MaxBatchGet {
		return nil, invalid("ids", fmt.Sprintf("%d ids, at most %d are allowed", len(ids), MaxBatchGet), "ask in several calls")
	}
	out := make([]*Tenant, len(ids))
	for i, id := range ids {
		var err error
		if out[i], err = s.Get(ctx, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ListRequest asks for a page of tenants.
type ListRequest struct {
	Filter    Filter // without AfterKey, AfterID and Now
	PageToken string
}

// ListResult is a page of tenants.
type ListResult struct {
	Tenants   []*Tenant
	NextToken string // "" on the last page
	Total     int    // over all pages, when Filter.Count asks for it
}

// List returns tenants in the wanted order.
func (s *Service) List(ctx context.Context, r ListRequest) (ListResult, error) {
	f := r.Filter
	query := queryHash("tenants", f.State, f.ShowDeleted, f.Release, f.Cluster, f.Labels, f.IDs, f.Order)
	var after struct {
		Key string `json:"k,omitempty"`
		ID  string `json:"i"`
	}
	if err := s.pages.Read(r.PageToken, query, &after); err != nil {
		return ListResult{}, err
	}
	f.AfterKey, f.AfterID, f.Now = after.Key, after.ID, s.now()
	limit := f.Limit
	if limit > 0 {
		f.Limit++ // one more shows whether there is a next page
	}
	found, total, err := s.store.Tenants(ctx, f)
	if err != nil {
		return ListResult{}, err
	}
	res := ListResult{Tenants: found, Total: total}
	if limit > 0 && len(found) > limit {
		res.Tenants = found[:limit]
		last := found[limit-1]
		after.Key, after.ID = f.Order.OrderKey(last), last.ID
		res.NextToken = s.pages.Token(query, after)
	}
	return res, nil
}

// Verdict answers Check.
type Verdict struct {
	Allowed bool
	// Reason is why not: "unknown", "suspended", "expired", "deleted" or
	// "purged".
	Reason string
	ID     string
	// Tenant is set when it is registered. It is shared: do not change it.
	Tenant *Tenant
}

// Check says whether requests for the tenant may be served now. It answers
// from memory while the mirror is fresh and from the store otherwise; while
// the store does not answer, from memory as it was, for at most StaleTenants.
// What then is not in memory is an error: not knowing is neither yes nor no.
func (s *Service) Check(ctx context.Context, id string) (Verdict, error) {
	v := Verdict{ID: id, Reason: "unknown"}
	if possible := ValidateID(id) == nil; !possible {
		return v, nil
	}
	t, err := s.mirror.tenant(ctx, id)
	if err != nil {
		return v, err
	}
	if t == nil {
		return v, nil
	}
	v.Tenant = t
	if st := t.StateAt(s.now()); st != StateActive {
		v.Reason = string(st)
		return v, nil
	}
	v.Allowed, v.Reason = true, ""
	return v, nil
}

// CheckHost is Check for the tenant that a request's host name means.
func (s *Service) CheckHost(ctx context.Context, host string) (Verdict, error) {
	return s.Check(ctx, IDFromHost(host))
}
