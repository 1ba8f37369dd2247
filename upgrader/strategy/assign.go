package strategy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tenant is what has to be known of a tenant to find its wave.
type Tenant struct {
	ID     string
	Labels map[string]string
	Docs   int64
}

// Group is a wave with its tenants, in the order in which they go.
type Group struct {
	Name    string
	Rule    Rule
	Tenants []string
}

// Objection is one reason not to start with a strategy: it does not fit the
// tenants that there are.
type Objection struct {
	Code     string // "wave_empty", "wave_tenant"
	TenantID string // may be empty
	Message  string
	Remedy   string
}

// Assign puts every tenant that has to be upgraded into exactly one wave.
// Sizes take the tenants that the priority label puts first, and among these
// the small ones: what goes wrong in an early wave should hit few.
func Assign(s *File, tenants []Tenant) ([]Group, []Objection) {
	a := &assigner{strategy: s, total: len(tenants), taken: map[string]bool{}}
	a.left = slices.Clone(tenants)
	slices.SortFunc(a.left, func(x, y Tenant) int {
		return cmp.Or(a.priority(x, y), cmp.Compare(x.Docs, y.Docs), strings.Compare(x.ID, y.ID))
	})
	if s == nil {
		a.wave(nil, "all", a.left)
		return a.groups, a.objections
	}
	if s.Canary != nil {
		a.spec("canary", s.Canary, cmp.Or(s.Canary.Name, "canary"))
	}
	for i := range s.Waves {
		w := &s.Waves[i]
		a.spec(fmt.Sprintf("waves[%d]", i), w, w.Name)
	}
	if len(a.left) > 0 {
		name := "rest"
		if len(a.groups) == 0 {
			name = "all"
		}
		a.wave(nil, name, a.left)
	}
	if n := len(a.groups); n > 0 && (a.latest == nil || a.latest.Between == nil || !a.latest.Between.Finalize) {
		a.groups[n-1].Rule.Between = Between{} // there is nothing to hold back any more
	}
	return a.groups, a.objections
}

type assigner struct {
	strategy   *File
	total      int
	left       []Tenant
	taken      map[string]bool
	groups     []Group
	objections []Objection
	latest     *Wave // of the latest wave; nil when it is of those who were left
}

// spec makes the wave that is asked for of those who are left.
func (a *assigner) spec(path string, w *Wave, name string) {
	var take func(i int, t Tenant) bool
	switch {
	case w.Size != "":
		q, _ := parseQuantity(w.Size)
		n := q.n + (a.total*q.percent+99)/100
		take = func(i int, _ Tenant) bool { return q.rest || i < n }
	case w.Label != "":
		key, value, _ := strings.Cut(w.Label, "=")
		take = func(_ int, t Tenant) bool { v, ok := t.Labels[key]; return ok && v == value }
		name = cmp.Or(name, w.Label)
	default:
		a.named(path, w.Tenants)
		take = func(_ int, t Tenant) bool { return slices.Contains(w.Tenants, t.ID) }
	}
	var members, others []Tenant
	for i, t := range a.left {
		if take(i, t) {
			members = append(members, t)
		} else {
			others = append(others, t)
		}
	}
	if len(members) == 0 {
		if w.Label != "" {
			a.refuse("wave_empty", "", fmt.Sprintf("%s: no tenant that has to be upgraded has label %s, or all of these are in a wave before", path, w.Label),
				"correct the label with `tms tenant update`, or the strategy")
		}
		return
	}
	a.left = others
	a.wave(w, name, members)
}

// named refuses names that cannot be in this wave: a canary that is left out
// silently would be none.
func (a *assigner) named(path string, ids []string) {
	for _, id := range ids {
		if slices.ContainsFunc(a.left, func(t Tenant) bool { return t.ID == id }) {
			continue
		}
		why := "it has nothing to do, is excepted, or is not part of the rollout"
		if a.taken[id] {
			why = "it is in a wave before"
		}
		a.refuse("wave_tenant", id, fmt.Sprintf("%s names it, but %s", path, why), "correct the strategy")
	}
}

func (a *assigner) refuse(code, tenant, message, remedy string) {
	a.objections = append(a.objections, Objection{Code: code, TenantID: tenant, Message: message, Remedy: remedy})
}

// wave adds a wave and orders its tenants.
func (a *assigner) wave(w *Wave, name string, members []Tenant) {
	a.latest = w
	slices.SortFunc(members, func(x, y Tenant) int {
		size := cmp.Compare(y.Docs, x.Docs)
		if a.strategy != nil && a.strategy.Order == OrderSmallFirst {
			size = -size
		}
		return cmp.Or(a.priority(x, y), size, strings.Compare(x.ID, y.ID))
	})
	g := Group{Name: cmp.Or(name, fmt.Sprintf("wave %d", len(a.groups)+1)), Rule: Rule{Between: a.strategy.betweenOf(w), FailureBudget: a.strategy.budgetOf(w)}}
	for _, t := range members {
		a.taken[t.ID] = true
		g.Tenants = append(g.Tenants, t.ID)
	}
	a.groups = append(a.groups, g)
}

// priority compares by the priority label: numbers, other values, none.
func (a *assigner) priority(x, y Tenant) int {
	if a.strategy == nil || a.strategy.PriorityLabel == "" {
		return 0
	}
	rank := func(t Tenant) (class int, n float64, text string) {
		v, ok := t.Labels[a.strategy.PriorityLabel]
		if n, err := strconv.ParseFloat(v, 64); err == nil && n == n {
			return 0, n, ""
		}
		if ok {
			return 1, 0, v
		}
		return 2, 0, ""
	}
	xc, xn, xt := rank(x)
	yc, yn, yt := rank(y)
	return cmp.Or(cmp.Compare(xc, yc), cmp.Compare(xn, yn), strings.Compare(xt, yt))
}
