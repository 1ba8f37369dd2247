package main

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// span is one call, or one step of a tenant, on the clock.
type span struct {
	kind   string // operation or step
	tenant string // "" when the call does not say
	start  time.Time
	end    time.Time
}

func (s span) length() time.Duration { return s.end.Sub(s.start) }

// meter collects what a run of TMS asked of the engine and of Postgres, and
// how long its steps took. It is safe for concurrent use. A nil meter
// collects nothing.
type meter struct {
	tenants []string

	mu     sync.Mutex
	engine []span
	store  []span
	steps  []span
	tasks  map[string]string // copy task id -> tenant
}

func newMeter(tenants []string) *meter {
	return &meter{tenants: tenants, tasks: map[string]string{}}
}

// tenantOf finds the tenant in an index name, pattern or opaque id.
func (m *meter) tenantOf(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.tasks[name]; ok {
		return t
	}
	for _, t := range m.tenants {
		if strings.Contains(name, t) {
			return t
		}
	}
	return ""
}

func (m *meter) task(id, source string) {
	t := m.tenantOf(source)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[id] = t
}

// asked notes a call to the engine; name is anything that holds the tenant.
func (m *meter) asked(op, name string, start time.Time) {
	s := span{op, m.tenantOf(name), start, time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine = append(m.engine, s)
}

// stored notes a call to Postgres.
func (m *meter) stored(op, tenant string, start time.Time) {
	s := span{op, tenant, start, time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = append(m.store, s)
}

// stepped notes the end of a step.
func (m *meter) stepped(step, tenant string, seconds float64, end time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps = append(m.steps, span{step, tenant, end.Add(-time.Duration(seconds * float64(time.Second))), end})
}

// cost is what one operation cost within one step, over all tenants.
type cost struct {
	step, op string
	calls    int
	sum      time.Duration // over calls, which may overlap
	longest  time.Duration
}

// stepCost is what one kind of step cost, over all tenants.
type stepCost struct {
	step   string
	steps  int
	wall   time.Duration // sum over tenants
	engine time.Duration // of it at least one call to the engine was in flight
	store  time.Duration // of it one to Postgres, and none to the engine
	ops    []cost
}

// outside is where calls go that belong to no step: planning, wake-ups, leases.
const outside = "(start, leases)"

// breakdown attributes every call to the step during which it was made.
func (m *meter) breakdown() []stepCost {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []stepCost
	at := func(step string) *stepCost {
		i := slices.IndexFunc(out, func(c stepCost) bool { return c.step == step })
		if i < 0 {
			i, out = len(out), append(out, stepCost{step: step})
		}
		return &out[i]
	}
	for _, s := range m.steps {
		engine, store := within(m.engine, s), within(m.store, s)
		c := at(s.kind)
		c.steps++
		c.wall += s.length()
		busy := union(engine)
		c.engine += busy
		c.store += union(append(engine, store...)) - busy
	}
	for _, calls := range [][]span{m.engine, m.store} {
		for _, call := range calls {
			c := at(m.stepOf(call))
			c.add(call)
		}
	}
	for i := range out {
		slices.SortFunc(out[i].ops, func(a, b cost) int { return cmp.Compare(b.sum, a.sum) })
	}
	return out
}

func (c *stepCost) add(call span) {
	i := slices.IndexFunc(c.ops, func(o cost) bool { return o.op == call.kind })
	if i < 0 {
		i, c.ops = len(c.ops), append(c.ops, cost{step: c.step, op: call.kind})
	}
	o := &c.ops[i]
	o.calls++
	o.sum += call.length()
	o.longest = max(o.longest, call.length())
}

func (m *meter) stepOf(call span) string {
	for _, s := range m.steps {
		if s.tenant == call.tenant && !call.start.Before(s.start) && !call.end.After(s.end) {
			return s.kind
		}
	}
	return outside
}

// within are the calls of a step's tenant made during the step.
func within(calls []span, step span) []span {
	var out []span
	for _, c := range calls {
		if c.tenant == step.tenant && !c.start.Before(step.start) && !c.end.After(step.end) {
			out = append(out, c)
		}
	}
	return out
}

// union is the time during which at least one of the spans ran.
func union(spans []span) time.Duration {
	s := slices.Clone(spans)
	slices.SortFunc(s, func(a, b span) int { return a.start.Compare(b.start) })
	var sum time.Duration
	var until time.Time
	for _, x := range s {
		from := x.start
		if from.Before(until) {
			from = until
		}
		if x.end.After(from) {
			sum, until = sum+x.end.Sub(from), x.end
		}
	}
	return sum
}
