package server

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/backups"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// BackupPolicies keeps policies, *backups.Service.
type BackupPolicies interface {
	CreatePolicy(context.Context, tenants.Caller, backups.Policy) (*backups.Policy, error)
	Policy(ctx context.Context, name string) (*backups.Policy, error)
	Policies(context.Context) ([]*backups.Policy, error)
	NativePolicies(context.Context) (all []backups.NativePolicy, silent []string, err error)
	UpdatePolicy(context.Context, tenants.Caller, backups.Policy) (*backups.Policy, error)
	DeletePolicy(ctx context.Context, c tenants.Caller, name string) error
	RunPolicy(ctx context.Context, c tenants.Caller, name, requestID string) (*backups.Run, error)
}

func (s *backupService) StartDrill(ctx context.Context, r *tmsv1.StartBackupDrillRequest) (*tmsv1.BackupRestore, error) {
	return answerRestore(s.backups.Drill(ctx, callerOf(ctx), backups.DrillOrder{Tenant: r.GetTenantId(), Snapshot: r.GetSnapshot(), RequestID: r.GetRequestId()}))
}

func (s *backupService) CreatePolicy(ctx context.Context, r *tmsv1.CreateBackupPolicyRequest) (*tmsv1.BackupPolicy, error) {
	return answerPolicy(s.backups.CreatePolicy(ctx, callerOf(ctx), policyFromProto(r.GetPolicy())))
}

func (s *backupService) GetPolicy(ctx context.Context, r *tmsv1.GetBackupPolicyRequest) (*tmsv1.BackupPolicy, error) {
	return answerPolicy(s.backups.Policy(ctx, r.GetName()))
}

// ListPolicies shows ours even when the engine does not tell its own.
func (s *backupService) ListPolicies(ctx context.Context, _ *tmsv1.ListBackupPoliciesRequest) (*tmsv1.ListBackupPoliciesResponse, error) {
	all, err := s.backups.Policies(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListBackupPoliciesResponse{}
	for _, p := range all {
		out.Policies = append(out.Policies, policyToProto(p))
	}
	native, silent, err := s.backups.NativePolicies(ctx)
	if err != nil {
		silent = append(silent, err.Error())
	}
	out.NativeProblem = strings.Join(silent, "; ")
	for _, p := range native {
		out.Native = append(out.Native, &tmsv1.NativeBackupPolicy{
			Name: p.Name, Cluster: p.Cluster, Kind: p.Kind, Schedule: p.Schedule, Repository: p.Repository, NextTime: stamp(p.NextAt),
			LastSuccess: outcomeToProto(p.LastSuccess), LastFailure: outcomeToProto(p.LastFailure),
		})
	}
	return out, nil
}

func (s *backupService) UpdatePolicy(ctx context.Context, r *tmsv1.UpdateBackupPolicyRequest) (*tmsv1.BackupPolicy, error) {
	return answerPolicy(s.backups.UpdatePolicy(ctx, callerOf(ctx), policyFromProto(r.GetPolicy())))
}

func (s *backupService) DeletePolicy(ctx context.Context, r *tmsv1.DeleteBackupPolicyRequest) (*tmsv1.DeleteBackupPolicyResponse, error) {
	if err := s.backups.DeletePolicy(ctx, callerOf(ctx), r.GetName()); err != nil {
		return nil, err
	}
	return &tmsv1.DeleteBackupPolicyResponse{}, nil
}

func (s *backupService) RunPolicy(ctx context.Context, r *tmsv1.RunBackupPolicyRequest) (*tmsv1.BackupSnapshot, error) {
	return answerSnapshot(s.backups.RunPolicy(ctx, callerOf(ctx), r.GetName(), r.GetRequestId()))
}

func answerPolicy(p *backups.Policy, err error) (*tmsv1.BackupPolicy, error) {
	if err != nil {
		return nil, err
	}
	return policyToProto(p), nil
}

func policyFromProto(p *tmsv1.BackupPolicy) backups.Policy {
	sel, ret := p.GetSelection(), p.GetRetention()
	edition, _ := strconv.ParseInt(p.GetEtag(), 10, 64) // anything else is no etag of ours, and does not match
	return backups.Policy{
		Name: p.GetName(), Schedule: p.GetSchedule(), Zone: p.GetTimeZone(), Repository: p.GetRepository(), Digest: p.GetDigest(), Drill: p.GetDrill(), Paused: p.GetPaused(),
		Selection: backups.Selection{All: sel.GetAll(), Tenants: sel.GetTenants(), Labels: sel.GetLabels(), Rollout: sel.GetRollout()},
		Retention: backups.Retention{ExpireAfter: ret.GetExpireAfter().AsDuration(), Min: int(ret.GetMinCount()), Max: int(ret.GetMaxCount())},
		Edition:   edition,
	}
}

func policyToProto(p *backups.Policy) *tmsv1.BackupPolicy {
	out := &tmsv1.BackupPolicy{
		Name: p.Name, Schedule: p.Schedule, TimeZone: p.Zone, Repository: p.Repository, Digest: p.Digest, Drill: p.Drill, Paused: p.Paused,
		Selection: &tmsv1.BackupSelection{All: p.Selection.All, Tenants: p.Selection.Tenants, Labels: p.Selection.Labels},
		Retention: &tmsv1.BackupRetention{MinCount: int32(p.Retention.Min), MaxCount: int32(p.Retention.Max)},
		Etag:      strconv.FormatInt(p.Edition, 10), NextTime: stamp(p.NextAt), CreatedBy: p.CreatedBy, CreateTime: stamp(p.CreatedAt),
		LastSuccess: outcomeToProto(p.LastSuccess), LastFailure: outcomeToProto(p.LastFailure), LastDrill: outcomeToProto(p.LastDrill),
	}
	if p.Retention.ExpireAfter > 0 {
		out.Retention.ExpireAfter = durationpb.New(p.Retention.ExpireAfter)
	}
	if p.LastSweep != nil {
		out.LastSweep = &tmsv1.BackupPolicySweep{Time: stamp(p.LastSweep.At), Removed: int64(p.LastSweep.Removed), Held: p.LastSweep.Held}
	}
	return out
}

func outcomeToProto(o *backups.Outcome) *tmsv1.BackupPolicyOutcome {
	if o == nil {
		return nil
	}
	return &tmsv1.BackupPolicyOutcome{Run: o.Run, Time: stamp(o.At), Ok: o.OK, Reason: o.Reason, TenantId: o.Tenant}
}
