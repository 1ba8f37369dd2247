package upgrader

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader/strategy"
)

// This file decides how waves go on. It has no I/O and no clock.

// WaveChanged says whether there is something to store about a wave.
func WaveChanged(a, b *Wave) bool {
	x, y := *a, *b
	x.Tally, y.Tally = WaveTally{}, WaveTally{}
	return !reflect.DeepEqual(x, y)
}

// overBudget says that more tenants of the wave have failed than are
// tolerated, and that something follows from it.
func (w *Wave) overBudget() bool {
	return !w.State.Ended() && w.Rule.FailureBudget.Then != strategy.ThenContinue && w.Tally.Failed > w.Rule.FailureBudget.Tolerated(w.Tally.Tenants)+w.Forgiven
}

func (w *Wave) budgetText() string {
	return fmt.Sprintf("%d of %d tenants of wave %d failed or were rolled back, %d are tolerated",
		w.Tally.Failed, w.Tally.Tenants, w.Number, w.Rule.FailureBudget.Tolerated(w.Tally.Tenants)+w.Forgiven)
}

// forgive lets a rollout go on that an operator resumes in spite of failures,
// and gives checks their time anew.
func (r *Rollout) forgive() {
	for i := range r.Waves {
		w := &r.Waves[i]
		if w.overBudget() {
			w.Forgiven = w.Tally.Failed - w.Rule.FailureBudget.Tolerated(w.Tally.Tenants)
		}
		if w.State == WaveChecking {
			w.CheckUntil, w.Checks = time.Time{}, nil
		}
	}
}

// passed says that the last round of checks was complete and right.
func (w *Wave) passed() bool {
	return len(w.Checks) == len(w.Rule.Between.Checks) && !slices.ContainsFunc(w.Checks, func(c CheckResult) bool { return !c.OK })
}

// complaint is the first check that did not pass.
func (w *Wave) complaint() string {
	for _, c := range w.Checks {
		if !c.OK {
			return "check " + c.Name + ": " + c.Text
		}
	}
	return "no round of checks came to an end"
}

// advance moves the waves of a rollout on as far as they get, and says what
// has to happen. It changes r.Waves and r.Wish.
func advance(r *Rollout, now time.Time) *Decision {
	a := &advancer{r: r, now: now, before: slices.Clone(r.Waves), d: &Decision{}}
	if r.Wish == WishRun && !r.State.Ended() {
		for i := range r.Waves {
			if !a.wave(i) {
				break
			}
		}
	}
	return a.d
}

type advancer struct {
	r      *Rollout
	now    time.Time
	before []Wave
	d      *Decision
}

func (a *advancer) event(format string, args ...any) {
	a.d.Events = append(a.d.Events, fmt.Sprintf(format, args...))
}

// wave moves one wave; true when the next one may be looked at.
func (a *advancer) wave(i int) bool {
	w := &a.r.Waves[i]
	switch w.State {
	case WaveDone:
		return true
	case WaveStopped:
		return false
	case WavePending:
		w.State, w.OpenedAt = WaveOpen, a.now
		a.event("wave %d (%s, %d tenants) opened", w.Number, w.Name, w.Tally.Tenants)
	}
	if w.overBudget() && a.somebodyWaits() {
		a.refuse(w, w.budgetText())
		return false
	}
	if w.Tally.Ended < w.Tally.Tenants {
		// Also one that is tried again while time passes.
		w.State, w.EndedAt, w.SoakUntil, w.CheckUntil, w.Checks = WaveOpen, time.Time{}, time.Time{}, time.Time{}, nil
		return false
	}
	if w.EndedAt.IsZero() {
		w.EndedAt, w.SoakUntil = a.now, a.now.Add(w.Rule.Between.SoakTime())
	}
	if (i < len(a.r.Waves)-1 || w.Rule.Between.Finalize) && w.Tally.Tenants > 0 && !a.between(w) {
		return false
	}
	w.State, w.DoneAt, w.Reason = WaveDone, a.now, ""
	a.event("wave %d (%s) is done", w.Number, w.Name)
	return true
}

// between looks at what holds after a wave; true when all of it does.
func (a *advancer) between(w *Wave) bool {
	b := w.Rule.Between
	if a.now.Before(w.SoakUntil) {
		w.State = WaveSoaking
		return false
	}
	if len(b.Checks) > 0 && !w.ChecksWaived && !a.checked(w) {
		return false
	}
	if b.Approval && w.ApprovedAt.IsZero() {
		w.State, w.Reason = WaveAwaiting, ""
		return false
	}
	return !b.Finalize || a.finalized(w)
}

// finalized says that no old version of the wave is left. Tenants of which no
// good came keep theirs: one that failed is still on it. Past the failure
// budget all do, until an operator says otherwise.
func (a *advancer) finalized(w *Wave) bool {
	switch {
	case w.overBudget():
		a.event("wave %d is not finalized: %s", w.Number, w.budgetText())
		return true
	case w.State != WaveFinalizing: // what is left is counted from now on
		w.State, w.Reason = WaveFinalizing, ""
		a.event("wave %d (%s) is being finalized", w.Number, w.Name)
		return false
	}
	if w.Tally.Old == w.Tally.Deleting {
		w.Reason = "" // nothing keeps anybody from it any more
	}
	return w.Tally.Old == 0
}

// checked says that the checks have passed, or that this does not matter.
func (a *advancer) checked(w *Wave) bool {
	if w.State != WaveChecking && w.State != WaveAwaiting && w.State != WaveFinalizing {
		w.State, w.Checks, w.CheckUntil = WaveChecking, nil, time.Time{}
	}
	if w.CheckUntil.IsZero() {
		w.CheckUntil = a.now.Add(w.Rule.Between.CheckTime())
	}
	switch {
	case w.State == WaveAwaiting || w.State == WaveFinalizing || w.passed():
		return true
	case a.now.Before(w.CheckUntil):
		w.Reason = ""
		if len(w.Checks) > 0 {
			w.Reason = w.complaint()
		}
		return false
	case w.Rule.FailureBudget.Then == strategy.ThenContinue:
		a.event("wave %d goes on although %s", w.Number, w.complaint())
		return true
	}
	a.refuse(w, fmt.Sprintf("wave %d did not pass within %s: %s", w.Number, w.Rule.Between.CheckTime(), w.complaint()))
	return false
}

// refuse pauses or stops the rollout.
func (a *advancer) refuse(w *Wave, why string) {
	w.Reason = why
	if w.Rule.FailureBudget.Then != strategy.ThenStop {
		a.r.Wish, a.d.Pause = WishPause, why
		a.r.Reason = why
		a.event("paused: %s", why)
		return
	}
	for i := w.Number - 1; i < len(a.r.Waves); i++ {
		x := &a.r.Waves[i]
		x.State, x.Reason, x.DoneAt = WaveStopped, why, a.now
	}
	a.d.StopReason = "stopped: " + why
	a.event("stopped: %s", why)
}

func (a *advancer) somebodyWaits() bool {
	return slices.ContainsFunc(a.r.Waves, func(w Wave) bool { return w.Tally.Waiting > 0 })
}

// admission is what decide knows beside the rows.
type admission struct {
	now       time.Time
	clusters  map[string]ClusterFacts // as far as they were asked
	snapshots map[string]SnapshotState
	joins     []joining
	extend    func(*Facts) // fills in what further gates judge; may be nil
}

// joining is a tenant that was planned to join a rollout, or why it cannot.
type joining struct {
	tenant  RolloutTenant
	moves   []Move
	missing *MissingTenant
}

// decide says what to do about a rollout as a whole; nil when nothing is to be
// done. It changes the view.
func decide(v *View, a admission) *Decision {
	before := slices.Clone(v.Rollout.Waves)
	d := advance(v.Rollout, a.now)
	d.Except = map[string]string{}
	for _, id := range v.Gone {
		d.Except[id] = "deleted from the registry during the rollout"
	}
	for id, state := range v.Inactive {
		d.Except[id] = state + " in the registry"
	}
	takeIn(v, a, d)
	if d.StopReason == "" {
		letIn(v, a, d)
	}
	for i := range v.Rollout.Waves {
		if w := &v.Rollout.Waves[i]; WaveChanged(&before[i], w) {
			d.Waves = append(d.Waves, *w)
		}
	}
	if len(d.Waves)+len(d.LetIn)+len(d.Except)+len(d.Reasons)+len(d.WaveReasons)+len(d.Join)+len(d.Events) == 0 && !d.SetMissing && d.Pause == "" {
		return nil
	}
	return d
}

// letIn chooses who may start, and tells the others why not. Who does not fit
// into a cluster keeps those of it waiting that come later: otherwise the small
// ones would overtake it for ever.
func letIn(v *View, a admission, d *Decision) {
	l := &entry{v: v, a: a, d: d, f: Facts{Now: a.now, Rollout: v.Rollout, Stop: v.Stop, Snapshots: a.snapshots}, shut: map[string]string{}, starting: map[WaveHome]int{}}
	d.Reasons, d.WaveReasons = map[string]string{}, map[WaveHome]string{}
	if v.Loads == nil {
		v.Loads = map[string]ClusterLoad{}
	}
	if a.extend != nil {
		a.extend(&l.f)
	}
	for _, c := range v.Candidates {
		if _, out := d.Except[c.TenantID]; !out {
			l.candidate(c)
		}
	}
	l.waveReasons()
}

// entry is one look at who may start.
type entry struct {
	v        *View
	a        admission
	d        *Decision
	f        Facts
	shut     map[string]string // clusters in which nobody else starts now, and why
	starting map[WaveHome]int
}

// about turns the facts to a tenant, or to those of a wave in a cluster.
func (l *entry) about(c Candidate) *Facts {
	l.f.Tenant, l.f.Load, l.f.Cluster = c, l.v.Loads[c.Cluster], l.a.clusters[c.Cluster]
	return &l.f
}

func (l *entry) candidate(c Candidate) {
	if _, shut := l.shut[c.Cluster]; shut {
		return
	}
	closed := firstClosed(l.about(c))
	if closed == nil && l.f.Cluster.Unasked {
		l.shut[c.Cluster] = "" // the next look asks it first
		return
	}
	if closed == nil {
		l.d.LetIn = append(l.d.LetIn, c.TenantID)
		load := l.v.Loads[c.Cluster]
		load.InFlight++
		load.InFlightOfAll++
		load.ReservedShards += c.NeedShards
		load.ReservedBytes += c.NeedBytes
		l.v.Loads[c.Cluster] = load
		l.starting[WaveHome{c.Wave, c.Cluster}]++
		return
	}
	if general := firstClosed(l.about(Candidate{Wave: c.Wave, Cluster: c.Cluster})); general != nil && general.Gate == closed.Gate {
		l.shut[c.Cluster] = "" // waveReasons says it for all of them
		return
	}
	if s := closed.Sentence(); s != c.Reason {
		l.d.Reasons[c.TenantID] = s
	}
	if !closed.own(c) {
		l.shut[c.Cluster] = "waits for tenant " + c.TenantID + ", which comes first: " + closed.Sentence()
	}
}

// own says that the candidate waits for something that nobody else waits for:
// then it keeps nobody waiting.
func (v *Verdict) own(c Candidate) bool {
	switch v.Gate {
	case GateTenantActive, GateRehearsed:
		return true
	case GateSnapshotFresh:
		return c.Snapshot != ""
	}
	return false
}

// waveReasons says why tenants of a wave wait, once for all of them in a
// cluster; the wave shows it too.
func (l *entry) waveReasons() {
	for i := range l.v.Rollout.Waves {
		w := &l.v.Rollout.Waves[i]
		if w.State != WavePending && w.State != WaveOpen {
			continue
		}
		reasons := map[WaveHome]string{}
		var all []string
		waiting := w.Tally.Waiting
		for home, n := range l.starting {
			if home.Wave == w.Number {
				waiting -= n
			}
		}
		for _, home := range l.v.Waiting[w.Number] {
			why := l.shut[home]
			if closed := firstClosed(l.about(Candidate{Wave: w.Number, Cluster: home})); closed != nil {
				why = closed.Sentence()
			}
			reasons[WaveHome{w.Number, home}] = why
			if why != "" && !slices.Contains(all, why) {
				all = append(all, why)
			}
		}
		if waiting <= 0 {
			all, reasons = nil, nil // everybody starts
		}
		if text := strings.Join(all, "; "); text != w.Reason {
			w.Reason = text
			for home, why := range reasons {
				l.d.WaveReasons[home] = why
			}
		}
	}
}

// takeIn adds tenants that came into being to the last wave, and keeps the
// list of those that cannot be added.
func takeIn(v *View, a admission, d *Decision) {
	if v.Rollout.Wish == WishCancel || len(v.Rollout.Behind) == 0 {
		return
	}
	outside := map[string]bool{}
	for _, t := range v.Outsiders {
		outside[t.ID] = true
	}
	for _, id := range v.StillMissing {
		outside[id] = true
	}
	missing := slices.DeleteFunc(slices.Clone(v.Rollout.Missing), func(m MissingTenant) bool {
		return !outside[m.TenantID] || slices.ContainsFunc(a.joins, func(j joining) bool { return j.id() == m.TenantID })
	})
	last := len(v.Rollout.Waves)
	for _, j := range a.joins {
		switch {
		case !outside[j.id()]:
		case j.missing != nil:
			missing = append(missing, *j.missing)
		case last > 0:
			w := &v.Rollout.Waves[last-1]
			j.tenant.Wave, j.tenant.Position, j.tenant.Reason = last, w.Tally.Tenants+len(d.Join)+1, w.Reason
			if d.JoinMoves == nil {
				d.JoinMoves = map[string][]Move{}
			}
			d.Join, d.JoinMoves[j.id()] = append(d.Join, j.tenant), j.moves
			if w.State.Ended() { // it opens again for them
				w.State, w.EndedAt, w.DoneAt, w.Reason = WaveOpen, time.Time{}, time.Time{}, ""
			}
			d.Events = append(d.Events, fmt.Sprintf("tenant %s joined wave %d", j.id(), last))
		}
	}
	d.Missing, d.SetMissing = missing, !slices.Equal(missing, v.Rollout.Missing)
}

func (j joining) id() string {
	if j.missing != nil {
		return j.missing.TenantID
	}
	return j.tenant.TenantID
}
