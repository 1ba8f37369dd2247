package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/backups"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func repositoryToProto(r backups.Repository) *tmsv1.BackupRepository {
	return &tmsv1.BackupRepository{
		Name: r.Name, Cluster: r.Cluster, Kind: string(r.Kind), Settings: r.Settings, ReadOnly: r.ReadOnly, VerifyTime: stamp(r.VerifiedAt),
		Problem: r.Problem, Nodes: r.Nodes, CreatedBy: r.CreatedBy, CreateTime: stamp(r.CreatedAt),
	}
}

func progressToProto(p backups.Progress) *tmsv1.BackupProgress {
	return &tmsv1.BackupProgress{Shards: int64(p.Shards), ShardsDone: int64(p.ShardsDone), Bytes: p.Bytes, BytesDone: p.BytesDone}
}

func snapshotToProto(r *backups.Run) *tmsv1.BackupSnapshot {
	s := r.Snapshot
	until := r.FinishedAt
	if until.IsZero() {
		until = time.Now()
	}
	return &tmsv1.BackupSnapshot{
		Id: r.ID, Repository: r.Repository, State: string(r.State), Reason: r.Reason, Notes: r.Notes, Tenants: r.Tenants, Releases: s.Releases,
		Selection: &tmsv1.BackupSelection{All: s.Selection.All, Tenants: s.Selection.Tenants, Labels: s.Selection.Labels, Rollout: s.Selection.Rollout},
		Digest:    s.Digest, Purpose: s.Purpose, Progress: progressToProto(r.Progress), Indices: int64(s.Indices), Documents: s.Docs,
		Bytes: s.Bytes, WrittenBytes: s.Written, TakenFrom: stamp(s.TakenFrom), TakenUntil: stamp(s.TakenUntil), Imported: s.Imported,
		CreatedBy: r.CreatedBy, CreateTime: stamp(r.CreatedAt), FinishTime: stamp(r.FinishedAt), Policy: r.Policy, Duration: durationpb.New(until.Sub(r.CreatedAt)),
	}
}

func manifestToProto(m *backups.Manifest) *tmsv1.BackupTenant {
	out := &tmsv1.BackupTenant{TenantId: m.Tenant, Release: m.Release, Aliases: aliasesToProto(m.Aliases)}
	for _, r := range m.Indices {
		out.Indices = append(out.Indices, &tmsv1.BackupIndex{Name: r.Name, Resource: r.Resource, Documents: r.After.Docs, Bytes: r.Bytes, Quiet: r.Quiet(), Digest: r.Digest})
	}
	for _, t := range m.Templates {
		out.Templates = append(out.Templates, t.Name)
	}
	return out
}

func aliasesToProto(all map[string][]string) map[string]*tmsv1.BackupAlias {
	out := map[string]*tmsv1.BackupAlias{}
	for alias, on := range all {
		out[alias] = &tmsv1.BackupAlias{Indices: on}
	}
	return out
}

func restorePlanToProto(p backups.RestorePlan) *tmsv1.BackupRestorePlan {
	out := &tmsv1.BackupRestorePlan{
		Aside: p.Aside, Templates: p.Templates, TemplatesRemoved: p.TemplatesRemoved, Aliases: aliasesToProto(p.Aliases),
		FromRelease: p.FromRelease, ToRelease: p.ToRelease, Shards: int64(p.Shards), Documents: p.Docs, Bytes: p.Bytes,
	}
	for _, ix := range p.Indices {
		out.Indices = append(out.Indices, &tmsv1.BackupPlannedIndex{Name: ix.Name, As: ix.As, Replaces: ix.Replaces, ReplacedDocuments: ix.ReplacedDocs, Documents: ix.Docs})
	}
	return out
}

func restoreToProto(r *backups.Run) *tmsv1.BackupRestore {
	x := r.Restore
	return &tmsv1.BackupRestore{
		Id: r.ID, Snapshot: x.Snapshot, Repository: r.Repository, TenantId: x.Tenant, State: string(r.State), Reason: r.Reason, Notes: r.Notes,
		Beside: x.Beside, Resources: x.Resources, Progress: progressToProto(r.Progress), Plan: restorePlanToProto(x.Plan),
		Verification: verificationToProto(x.Verified), Rehearsal: verificationToProto(x.Rehearsed),
		Fence: durationpb.New(x.Fence), Engine: durationpb.New(x.Engine),
		CreatedBy: r.CreatedBy, CreateTime: stamp(r.CreatedAt), FinishTime: stamp(r.FinishedAt), Drill: x.Drill, Policy: r.Policy,
	}
}

func verificationToProto(v *backups.Verification) *tmsv1.BackupVerification {
	if v == nil {
		return nil
	}
	return &tmsv1.BackupVerification{Indices: int64(v.Indices), Documents: v.Docs, Digested: int64(v.Digested), Moving: int64(v.Moving), Time: stamp(v.At)}
}
