package server

import (
	"cmp"
	"slices"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
)

// maxListedMoves is the number of target indices that a plan lists one by one:
// some 250 bytes each, so that the answer stays below 16 MB, a quarter of what
// the gateway takes.
const maxListedMoves = 50_000

func planToProto(p *upgrader.Plan) *tmsv1.RolloutPlan {
	out := &tmsv1.RolloutPlan{
		ToRelease: p.ToRelease, Options: optionsToProto(p.Options),
		Shards: shardsToProto(p.Shards), Forecast: forecastToProto(p.Forecast), Elsewhere: p.Elsewhere,
	}
	for _, c := range p.Clusters {
		out.Clusters = append(out.Clusters, &tmsv1.ClusterPlan{
			Cluster: c.Cluster, Tenants: int32(c.Tenants), Shards: shardsToProto(c.Shards), Forecast: forecastToProto(c.Forecast), Remarks: c.Remarks,
		})
	}
	out.Waves = wavePlansToProto(p)
	indices := 0
	for _, t := range p.Tenants {
		indices += len(t.Moves)
	}
	out.MovesOmitted = indices > maxListedMoves
	for _, t := range p.Tenants {
		out.Tenants = append(out.Tenants, tenantPlanToProto(t, !out.MovesOmitted))
	}
	out.Methods = methodsToProto(p.Tenants)
	for _, r := range p.Refusals {
		out.Refusals = append(out.Refusals, &tmsv1.Refusal{Code: r.Code, TenantId: r.TenantID, Message: r.Message, Remedy: r.Remedy})
	}
	return out
}

func tenantPlanToProto(t upgrader.TenantPlan, listed bool) *tmsv1.TenantPlan {
	out := &tmsv1.TenantPlan{
		TenantId: t.TenantID, FromRelease: t.FromRelease, Path: t.Path, Shards: int32(t.Shards), Notes: t.Notes, Kind: string(t.Kind()), Wave: int32(t.Wave),
		Indices: int32(len(t.Moves)), ByMethod: map[string]int32{},
	}
	for _, m := range t.Moves {
		out.ByMethod[string(m.Method)]++
		out.Documents += m.Documents()
	}
	if listed {
		out.Moves = movesToProto(upgrader.BeginMoves(t.Moves))
	}
	return out
}

// methodsToProto sums up the moves of all tenants by method and reason.
func methodsToProto(tenants []upgrader.TenantPlan) []*tmsv1.PlannedMethod {
	type group struct{ method, why string }
	sums := map[group]*tmsv1.PlannedMethod{}
	var out []*tmsv1.PlannedMethod
	for _, t := range tenants {
		for _, m := range t.Moves {
			g := group{string(m.Method), m.Why}
			sum := sums[g]
			if sum == nil {
				sum = &tmsv1.PlannedMethod{Method: g.method, Reason: g.why}
				sums[g], out = sum, append(out, sum)
			}
			sum.Indices++
			sum.Documents += m.Documents()
		}
	}
	slices.SortFunc(out, func(x, y *tmsv1.PlannedMethod) int {
		return cmp.Or(cmp.Compare(x.Method, y.Method), cmp.Compare(y.Documents, x.Documents), cmp.Compare(x.Reason, y.Reason))
	})
	return out
}
