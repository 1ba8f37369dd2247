package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// rolloutDocument is a rollout for programs. Keys are a contract: those of
// the message, plus "tenant" (the same as tenant_id) in every tenant, and
// "verification" null while there is none.
func rolloutDocument(r *tmsv1.Rollout) (map[string]any, error) {
	v, err := document(r)
	if err != nil {
		return nil, err
	}
	list, _ := v["tenants"].([]any)
	for _, one := range list {
		t, ok := one.(map[string]any)
		if !ok {
			continue
		}
		t["tenant"] = t["tenant_id"]
		if _, ok := t["verification"]; !ok {
			t["verification"] = nil
		}
	}
	return v, nil
}

func (a *app) writeRollouts(all []*tmsv1.Rollout) error {
	docs := make([]any, 0, len(all))
	for _, r := range all {
		v, err := rolloutDocument(r)
		if err != nil {
			return err
		}
		docs = append(docs, v)
	}
	return writeJSON(a.out, docs)
}

func (a *app) printRollout(s *session, r *tmsv1.Rollout) error {
	if s.json {
		v, err := rolloutDocument(r)
		if err != nil {
			return err
		}
		return writeJSON(a.out, v)
	}
	err := writeFields(a.out,
		"rollout", r.GetId(), "state", r.GetState()+withReason(r.GetReason()), "to", r.GetToRelease(), "kind", r.GetKind(), "clusters", strings.Join(clustersOf(r), ", "), "tenants", tally(r), "snapshot", snapshotsOf(r.GetOptions()),
		"started", stamp(r.GetCreateTime()), "by", r.GetCreatedBy(), "ended", stamp(r.GetFinishTime()), "took", seconds(r.GetSeconds()),
	)
	if err == nil {
		err = a.printLimits(r)
	}
	if err != nil || len(r.GetTenants()) == 0 {
		return err
	}
	header, rows := tenantTable(r)
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	if err := writeTable(a.out, header, rows); err != nil {
		return err
	}
	if err := a.printWaves(r); err != nil {
		return err
	}
	return a.printMoves(r)
}

// tenantTable has a column for clusters and waves where there are several.
func tenantTable(r *tmsv1.Rollout) (header []string, rows [][]string) {
	header = []string{"tenant", "state", "release", "indices", "documents", "quarantined", "fence", "verified", "took", "reason"}
	several, waved := len(clustersOf(r)) > 1, len(r.GetWaves()) > 1
	if waved {
		header = slices.Insert(header, 1, "wave")
	}
	if several {
		header = slices.Insert(header, 1, "cluster")
	}
	for _, t := range r.GetTenants() {
		row := tenantRow(t)
		if waved {
			number, reason := waveText(r, t)
			row[len(row)-1] = reason
			row = slices.Insert(row, 1, number)
		}
		if several {
			row = slices.Insert(row, 1, t.GetCluster())
		}
		rows = append(rows, row)
	}
	return header, rows
}

// waveText is the number of a tenant's wave, and its reason: where it waits for
// the same as its wave, that is told once for all of them.
func waveText(r *tmsv1.Rollout, t *tmsv1.RolloutTenant) (number, reason string) {
	reason = reasonOf(t)
	for _, w := range r.GetWaves() {
		if w.GetNumber() != t.GetWave() {
			continue
		}
		number = fmt.Sprint(w.GetNumber())
		if t.GetWaiting() && reason != "" && reason == w.GetReason() {
			reason = "see wave " + number
		}
	}
	return number, reason
}

// snapshotsOf names what was taken before a rollout.
func snapshotsOf(o *tmsv1.RolloutOptions) string {
	if len(o.GetSnapshotIds()) == 0 {
		return o.GetSnapshotId()
	}
	return pairsText(o.GetSnapshotIds())
}

func tenantRow(t *tmsv1.RolloutTenant) []string {
	verified, fence := "", ""
	if v := t.GetVerification(); v.GetVerdict() != "" { // otherwise it is being made
		verified = v.GetLevel() + ": " + v.GetVerdict()
		fence = milliseconds(t.GetFenceMs())
	}
	return []string{
		t.GetTenantId(), t.GetState(), t.GetRelease(), indicesText(t.GetIndices(), t.GetIndicesByMethod()), fmt.Sprint(t.GetDocuments()),
		fmt.Sprint(t.GetQuarantined()), fence, verified, took(t), reasonOf(t),
	}
}

// indicesText is a number of indices with its parts: "76 (create=40, reindex=36)".
func indicesText(n int32, byMethod map[string]int32) string {
	if len(byMethod) == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (%s)", n, pairsText(byMethod))
}

// printMoves prints the target indices, where the rollout was asked for with
// them.
func (a *app) printMoves(r *tmsv1.Rollout) error {
	var rows [][]string
	for _, t := range r.GetTenants() {
		for _, m := range t.GetMoves() {
			rows = append(rows, []string{t.GetTenantId(), m.GetTarget(), m.GetMethod(), m.GetState(), fmt.Sprintf("%d/%d", m.GetDocuments(), m.GetTotal()), fmt.Sprint(len(m.GetSources())), m.GetReason()})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"tenant", "target", "method", "state", "documents", "sources", "why"}, rows)
}

// took is how long a tenant has taken so far, nothing when it was not begun.
func took(t *tmsv1.RolloutTenant) string {
	if t.GetSeconds() == 0 {
		return ""
	}
	return seconds(t.GetSeconds())
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func milliseconds(ms float64) string { return fmt.Sprintf("%.0f ms", ms) }
