package server

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

func optionsFromProto(o *tmsv1.RolloutOptions) (upgrader.Options, error) {
	strategy, err := strategyFromProto(o.GetStrategy())
	var methods map[string]upgrader.Method
	for key, m := range o.GetMethods() {
		if methods == nil {
			methods = map[string]upgrader.Method{}
		}
		methods[key] = upgrader.Method(m)
	}
	return upgrader.Options{
		Methods: methods,
		Tenants: o.GetTenants(), Verify: upgrader.VerifyLevel(o.GetVerify()), AllowQuarantine: int(o.GetAllowQuarantine()),
		MaxTenants: int(o.GetMaxTenants()), HoldSwitch: o.GetHoldSwitch(), FenceTimeout: o.GetFenceTimeout().AsDuration(),
		RequestsPerSecond: o.GetRequestsPerSecond(), Snapshot: o.GetSnapshot(), SnapshotRepositories: snapshotRepositories(o),
		RequireRehearsal: o.GetRequireRehearsal(), RaiseShardLimit: o.GetRaiseShardLimit(), FinalizeAfter: o.GetFinalizeAfter().AsDuration(),
		Strategy: strategy, Except: o.GetExcept(), Clusters: o.GetClusters(),
	}, err
}

// snapshotRepositories are those named in one way or the other.
func snapshotRepositories(o *tmsv1.RolloutOptions) []string {
	all := slices.Clone(o.GetSnapshotRepositories())
	if one := o.GetSnapshotRepository(); one != "" && !slices.Contains(all, one) {
		all = append(all, one)
	}
	return all
}

func optionsToProto(o upgrader.Options) *tmsv1.RolloutOptions {
	var methods map[string]string
	for key, m := range o.Methods {
		if methods == nil {
			methods = map[string]string{}
		}
		methods[key] = string(m)
	}
	repository, repositories := "", o.SnapshotRepositories
	if len(repositories) == 1 {
		repository, repositories = repositories[0], nil
	}
	return &tmsv1.RolloutOptions{
		RequireRehearsal: o.RequireRehearsal, RaiseShardLimit: o.RaiseShardLimit, FinalizeAfter: span(o.FinalizeAfter), Strategy: strategyToProto(o.Strategy), Except: o.Except,
		Snapshot: o.Snapshot, SnapshotRepository: repository, SnapshotRepositories: repositories, SnapshotId: o.SnapshotName, SnapshotIds: o.Snapshots,
		Methods: methods, Clusters: o.Clusters,
		Tenants: o.Tenants, Verify: string(o.Verify), AllowQuarantine: int32(o.AllowQuarantine), MaxTenants: int32(o.MaxTenants),
		HoldSwitch: o.HoldSwitch, FenceTimeout: durationpb.New(o.FenceTimeout), RequestsPerSecond: o.RequestsPerSecond,
	}
}

func rolloutToProto(r *upgrader.Rollout, now time.Time) *tmsv1.Rollout {
	out := &tmsv1.Rollout{
		Id: r.ID, ToRelease: r.ToRelease, State: string(r.State), Reason: r.Reason, CreatedBy: r.CreatedBy,
		CreateTime: stamp(r.CreatedAt), FinishTime: stamp(r.FinishedAt), Options: optionsToProto(r.Options),
		Revision: r.Revision, Seconds: seconds(r.CreatedAt, r.FinishedAt, now),
	}
	out.Kind = string(r.Kind())
	out.Waves, out.Missing = wavesToProto(r.Waves), missingToProto(r.Missing)
	out.ShardLimits, out.Retention = shardLimitsToProto(r.Claims), retentionToProto(r)
	for i := range r.Tenants {
		out.Tenants = append(out.Tenants, rolloutTenantToProto(&r.Tenants[i], r.ToRelease, now))
	}
	return out
}

func rolloutTenantToProto(t *upgrader.RolloutTenant, to string, now time.Time) *tmsv1.RolloutTenant {
	out := &tmsv1.RolloutTenant{
		TenantId: t.TenantID, Cluster: t.Cluster, FromRelease: t.FromRelease, Release: t.FromRelease, State: string(t.State), Reason: t.Reason,
		Retriable: t.Retriable, Indices: int32(t.Indices), IndicesByMethod: map[string]int32{}, Documents: t.Documents,
		DocumentsTotal: t.DocsTotal, Quarantined: int32(t.Quarantined), FenceMs: milliseconds(t.Fence), Verification: proofToProto(t.Proof),
		Seconds: seconds(t.StartedAt, t.FinishedAt, now), StartTime: stamp(t.StartedAt), FinishTime: stamp(t.FinishedAt),
		Notes: t.Record.Notes, Kind: string(t.Kind()), WritesSinceSwitch: t.Record.WritesSinceSwitch, Attempts: int32(t.Attempts),
	}
	out.Wave, out.Waiting, out.Excepted = int32(t.Wave), t.Waiting, t.Excepted
	if t.State == upgrader.TenantSwitched || t.State == upgrader.TenantFinalized || t.State.Returning() {
		out.Release = to
	}
	out.RefusedWritesEstimated, out.Fences, out.WayBack = t.Record.Refused, int32(t.FenceTries), wayBackToProto(t.Record.Return)
	for method, n := range t.ByMethod {
		out.IndicesByMethod[string(method)] = int32(n)
	}
	return out
}

func wayBackToProto(r *upgrader.Return) *tmsv1.WayBack {
	if r == nil {
		return nil
	}
	return &tmsv1.WayBack{
		Carried: r.Carried, Unchanged: r.Unchanged, Deleted: r.Deleted, NotCarried: r.NotCarried, Compared: r.Compared,
		Documents: r.Documents, Kept: r.Kept, FenceMs: milliseconds(r.Fence), Fences: int32(r.Tries),
	}
}

func proofToProto(p *upgrader.Proof) *tmsv1.Verification {
	if p == nil {
		return nil
	}
	out := &tmsv1.Verification{
		Level: string(p.Level), Verdict: p.Verdict, Documents: p.Documents, Compared: p.Compared, Delta: p.Delta,
		TakeTime: stamp(p.TakenAt), ReleaseDigests: p.BundleDigests,
	}
	if len(p.Indices) > 0 {
		out.Detail = fmt.Sprintf("%d indices: %d documents counted, %d compared, of these %d behind the fence", len(p.Indices), p.Documents, p.Compared, p.Delta)
		if len(p.Unseen) > 0 {
			out.Detail += "; made by raw Painless, so not looked into: " + strings.Join(p.Unseen, ", ")
		}
	}
	return out
}

func movesToProto(moves []upgrader.Move) []*tmsv1.IndexMove {
	out := make([]*tmsv1.IndexMove, 0, len(moves))
	for _, m := range moves {
		p := &tmsv1.IndexMove{Target: m.Target, Method: string(m.Method), State: string(m.State), Documents: m.Documents, Reason: m.Why}
		var copied int64
		for _, c := range m.Copies {
			p.Sources = append(p.Sources, c.Source)
			if !c.Foreign {
				p.Total += c.Docs
			}
			copied += c.Copied
		}
		p.Documents = max(p.Documents, copied)
		out = append(out, p)
	}
	return out
}

func shardsToProto(f capacity.ShardForecast) *tmsv1.ShardForecast {
	return &tmsv1.ShardForecast{
		Now: int32(f.Now), Added: int32(f.New), Peak: int32(f.Peak), Limit: int32(f.Limit),
		MaxPerNode: int32(f.MaxPerNode), DataNodes: int32(f.DataNodes), Needed: int32(f.Needed), Raise: f.Raise,
	}
}

func forecastToProto(f capacity.Forecast) *tmsv1.FleetForecast {
	return &tmsv1.FleetForecast{
		Documents: f.Docs, Bytes: f.Bytes, DurationSeconds: round(f.Duration.Seconds()),
		MeasuredTenants: int32(f.Rate.Tenants), Rehearsed: f.Rate.Rehearsed, DocumentsPerSecond: round(f.Rate.PerSecond), TypicalSeconds: round(f.Rate.Typical.Seconds()),
		Until: stamp(f.Until), CalendarShards: int32(f.CalendarShards), ShardsAfter: int32(f.ShardsAfter),
		LargestWave: int32(f.LargestWave), Waves: int32(f.Waves),
		Disk: &tmsv1.DiskForecast{Total: f.Disk.Total, Used: f.Disk.Used, Peak: f.Disk.Peak, After: f.Disk.After, Limit: f.Disk.Limit, Watermark: f.Disk.Watermark},
	}
}

// seconds between two times, up to now while there is no end.
func seconds(from, to, now time.Time) float64 {
	if from.IsZero() {
		return 0
	}
	if to.IsZero() {
		to = now
	}
	return round(max(0, to.Sub(from).Seconds()))
}

func milliseconds(d time.Duration) float64 {
	return round(float64(d) / float64(time.Millisecond))
}

// round keeps three decimals: more is noise in a report.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }
