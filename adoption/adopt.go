package adoption

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/tracardi/tms/tenants"
)

// AdoptRequest names a single-tenant installation and the tenant it becomes.
type AdoptRequest struct {
	CodeName     string // in its index names
	ID           string // of the tenant
	ValidateOnly bool
}

// codeNamePattern is what can stand in an index name and in a pattern of them.
var codeNamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// reservedNames begin other names than Tracardi's: of index templates, and of
// the aliases by which rollouts guard what they make.
var reservedNames = []string{"template", "tms"}

// Adopt registers an installation, whose indices stand under a code name, as a
// tenant. What is there is not touched: the next upgrade moves the documents
// to indices under the tenant's id. It may be repeated.
func (s *Service) Adopt(ctx context.Context, c tenants.Caller, r AdoptRequest) (Imported, error) {
	out := Imported{ID: r.ID}
	if err := s.adoptable(r); err != nil {
		return out, err
	}
	v, err := s.look(ctx, r.CodeName)
	if err != nil {
		return out, err
	}
	f := inForce(s.catalogue, v.holding(r.CodeName))
	known, err := s.registry.AllTenants(ctx)
	if err != nil {
		return out, fmt.Errorf("list registered tenants: %w", err)
	}
	own := slices.IndexFunc(known, func(t *tenants.Tenant) bool { return t.ID == r.ID })
	if own >= 0 && s.adopted(known[own], r.CodeName) {
		out.Already, out.Release = true, known[own].Release
		return out, nil
	}
	switch {
	case len(v.holding(r.CodeName).Indices) == 0:
		out.Refused = fmt.Sprintf("the cluster holds no open index of a known release under %q (see `tms tenant discover`)", r.CodeName)
	case f.Release == nil:
		out.Refused = fmt.Sprintf("%s (%s)", f.Why, f.Remedy)
	case slices.ContainsFunc(known, func(t *tenants.Tenant) bool { return t.ID == r.CodeName && t.PurgedAt.IsZero() }):
		out.Refused = fmt.Sprintf("%q is registered as a tenant of its own (delete that entry first: `tms tenant delete %s`; its indices stay)", r.CodeName, r.CodeName)
	}
	if out.Refused != "" {
		return out, nil
	}
	out.Release = f.Release.Version
	_, err = s.registry.Create(ctx, c, tenants.CreateRequest{ValidateOnly: r.ValidateOnly, Tenant: &tenants.Tenant{
		ID: r.ID, Release: out.Release, Cluster: s.cluster, AdoptedFrom: f.Release.Prefix + "." + r.CodeName,
	}})
	var refused *tenants.Error
	if errors.As(err, &refused) && refused.Code != tenants.CodeUnavailable {
		out.Refused, err = refused.Error(), nil
	}
	return out, err
}

// adoptable refuses names that cannot be.
func (s *Service) adoptable(r AdoptRequest) error {
	if err := tenants.ValidateID(r.ID); err != nil {
		return fieldError("adopt_as", fmt.Sprintf("%q cannot be a tenant's id", r.ID), "use 3 to 63 of a-z and 0-9, one of them a letter")
	}
	if !codeNamePattern.MatchString(r.CodeName) {
		return fieldError("code_name", fmt.Sprintf("%q cannot be a code name", r.CodeName), "give the part of the index names between the two first dots, in 074.4a7d1.tracardi-event it is 4a7d1")
	}
	if r.CodeName == r.ID {
		return fieldError("adopt_as", fmt.Sprintf("%q is the code name already", r.ID), "register it with `tms tenant discover "+r.ID+" --import`")
	}
	_, err := s.catalogue.ByPrefix(r.CodeName)
	if err == nil || slices.Contains(reservedNames, r.CodeName) {
		return fieldError("code_name", fmt.Sprintf("%q begins the names of others", r.CodeName), "it cannot be told from them: move the installation to another INSTANCE_PREFIX first")
	}
	return nil
}

func fieldError(field, message, remedy string) error {
	return &tenants.Error{
		Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: field, Message: message, Remedy: remedy,
		Violations: []tenants.Violation{{Field: field, Message: message}},
	}
}

// adopted says whether a tenant was the installation with the code name.
func (s *Service) adopted(t *tenants.Tenant, codeName string) bool {
	return t.PurgedAt.IsZero() && namesOf(t.ID, t.AdoptedFrom).In(prefixOf(t.AdoptedFrom)) == codeName
}
