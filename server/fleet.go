package server

import (
	"context"

	"github.com/tracardi/tms/adoption"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Fleet compares registry and clusters, *adoption.Fleet.
type Fleet interface {
	Discover(context.Context) (*adoption.Discovery, error)
	Import(context.Context, tenants.Caller, adoption.ImportRequest) ([]adoption.Imported, error)
	Adopt(context.Context, tenants.Caller, adoption.AdoptRequest) (adoption.Imported, error)
	Show(ctx context.Context, id string) (*adoption.Sheet, error)
	Drift(context.Context) (*adoption.Report, error)
	Capture(context.Context, adoption.CaptureRequest) (*adoption.Capture, error)
}

// Outcomes of an import, as in the contract.
const (
	outcomeImported   = "imported"
	outcomeRegistered = "registered"
	outcomeRefused    = "refused"
)

type fleetService struct{ fleet Fleet }

func (s *fleetService) Discover(ctx context.Context, _ *tmsv1.DiscoverFleetRequest) (*tmsv1.DiscoverFleetResponse, error) {
	d, err := s.fleet.Discover(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.DiscoverFleetResponse{Unseen: d.Unseen}
	for _, f := range d.Tenants {
		out.Tenants = append(out.Tenants, foundToProto(f))
	}
	for _, x := range d.Strangers {
		out.Strangers = append(out.Strangers, &tmsv1.FleetStranger{Name: x.Name, Reason: x.Reason, Example: x.Example, Figures: figuresToProto(x.Figures)})
	}
	return out, nil
}

func (s *fleetService) Import(ctx context.Context, r *tmsv1.ImportFleetRequest) (*tmsv1.ImportFleetResponse, error) {
	all, err := s.fleet.Import(ctx, callerOf(ctx), adoption.ImportRequest{Tenants: r.GetTenants(), ValidateOnly: r.GetValidateOnly()})
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ImportFleetResponse{}
	for _, one := range all {
		out.Tenants = append(out.Tenants, importedToProto(one))
	}
	return out, nil
}

func importedToProto(one adoption.Imported) *tmsv1.ImportedTenant {
	p := &tmsv1.ImportedTenant{Id: one.ID, Outcome: outcomeImported, Release: one.Release, Reason: one.Refused}
	switch {
	case one.Refused != "":
		p.Outcome = outcomeRefused
	case one.Already:
		p.Outcome = outcomeRegistered
	}
	return p
}

func (s *fleetService) Adopt(ctx context.Context, r *tmsv1.AdoptTenantRequest) (*tmsv1.ImportedTenant, error) {
	one, err := s.fleet.Adopt(ctx, callerOf(ctx), adoption.AdoptRequest{CodeName: r.GetCodeName(), ID: r.GetAdoptAs(), ValidateOnly: r.GetValidateOnly()})
	if err != nil {
		return nil, err
	}
	return importedToProto(one), nil
}

func (s *fleetService) Show(ctx context.Context, r *tmsv1.ShowFleetTenantRequest) (*tmsv1.FleetTenantSheet, error) {
	sheet, err := s.fleet.Show(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.FleetTenantSheet{Id: sheet.ID, Entry: entryToProto(sheet.Entry), Findings: findingsToProto(sheet.Findings)}
	if sheet.Found != nil {
		out.Found = foundToProto(*sheet.Found)
	}
	for _, row := range sheet.Rows {
		p := &tmsv1.FleetResource{Resource: row.Resource, Mode: row.Mode, Alias: row.Alias, LeadsTo: row.Leads, Template: row.Template}
		for _, ix := range row.Indices {
			p.Indices = append(p.Indices, ix.Name)
		}
		p.Figures = figuresToProto(adoption.Sum(row.Indices))
		out.Resources = append(out.Resources, p)
	}
	return out, nil
}

func (s *fleetService) Drift(ctx context.Context, _ *tmsv1.FleetDriftRequest) (*tmsv1.FleetDrift, error) {
	report, err := s.fleet.Drift(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.FleetDrift{Findings: findingsToProto(report.Findings), Compared: int64(report.Compared)}
	for _, m := range report.Moving {
		out.Moving = append(out.Moving, &tmsv1.MovingTenant{TenantId: m.Tenant, RolloutId: m.Rollout})
	}
	return out, nil
}

func findingsToProto(all []adoption.Finding) []*tmsv1.FleetFinding {
	var out []*tmsv1.FleetFinding
	for _, f := range all {
		out = append(out, &tmsv1.FleetFinding{Code: string(f.Code), TenantId: f.Tenant, Registry: f.Registry, Cluster: f.Cluster, Remedy: f.Remedy, Names: f.Names})
	}
	return out
}

func entryToProto(e *adoption.Entry) *tmsv1.FleetEntry {
	if e == nil {
		return nil
	}
	return &tmsv1.FleetEntry{State: string(e.State), Release: e.Release, Cluster: e.Cluster, RolloutId: e.Rollout}
}

func foundToProto(f adoption.Found) *tmsv1.FoundTenant {
	out := &tmsv1.FoundTenant{Id: f.ID, Cluster: f.Cluster, Registered: f.Entry != nil, Entry: entryToProto(f.Entry), Modes: f.Modes, Total: figuresToProto(f.Total)}
	if f.Force.Release != nil {
		out.Release = f.Force.Release.Version
	} else {
		out.ReleaseProblem = withRemedy(f.Force.Why, f.Force.Remedy)
	}
	for _, v := range f.Versions {
		out.Versions = append(out.Versions, &tmsv1.StandingVersion{
			Release: v.Version, Prefix: v.Prefix, Figures: figuresToProto(v.Figures),
			Aliased: int64(v.Aliased), WriteBlocked: int64(v.WriteBlocked), Closed: int64(v.Closed), InForce: v.InForce,
		})
	}
	for _, w := range f.Wrecks {
		out.Wrecks = append(out.Wrecks, &tmsv1.FleetWreck{Index: w.Name, Reason: w.Fault, Documents: w.Docs})
	}
	return out
}

func figuresToProto(f adoption.Figures) *tmsv1.FleetFigures {
	return &tmsv1.FleetFigures{Indices: int64(f.Indices), Documents: f.Docs, Bytes: f.Bytes, Shards: int64(f.Shards)}
}
