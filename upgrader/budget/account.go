package budget

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Account is this process's share of one cluster's budget. A nil account
// limits nothing. Safe for concurrent use.
type Account struct {
	s       *Steward
	cluster string
	ready   chan struct{} // closed after the first beat
	wanting chan struct{} // asks for a beat now
	limiter *rate.Limiter // documents read by this process

	sampling atomic.Bool
	done     atomic.Int64 // documents copied or compared so far
	period   atomic.Int64 // counts the periods in which readers are counted
	reading  atomic.Int64 // readers that have read documents in this period

	mu      sync.Mutex
	tenants int
	tasks   slots // each in use is a copy task that is followed
	updates slots
	heard   time.Time // of the last pulse, by our clock
	first   bool
	perFlow float64       // documents per second of each copy; 0 is not limited
	changed chan struct{} // closed when perFlow or stop have changed
	reason  string
	stop    *Stop
	probe   string
	since   time.Time // of the period
	before  int64     // done at its begin
	readers int       // of the period before
	rate    float64   // documents per second in the period before
}

// slots of one kind: given by the store, used and waited for here.
type slots struct {
	given, used, waiting int
	// ahead is how many more than used are asked for, so that a tenant begins
	// without asking.
	ahead int
	freed chan struct{} // closed when one may be free
}

func newAccount(s *Steward, cluster string) *Account {
	return &Account{
		s: s, cluster: cluster, ready: make(chan struct{}), wanting: make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Inf, 1), first: true, changed: make(chan struct{}),
		tasks: slots{ahead: 1, freed: make(chan struct{})}, updates: slots{ahead: 16, freed: make(chan struct{})},
		since: time.Now(),
	}
}

func (a *Account) join() {
	a.mu.Lock()
	a.tenants++
	a.mu.Unlock()
}

// Part ends what Steward.Open began.
func (a *Account) Part() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.tenants--
	a.mu.Unlock()
}

func (a *Account) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tenants > 0
}

// Look names an index that the cluster's search latency may be measured with.
func (a *Account) Look(index string) {
	if a == nil || index == "" {
		return
	}
	a.mu.Lock()
	a.probe = index
	a.mu.Unlock()
}

func (a *Account) probed() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.probe
}

// state is what the process tells in a beat.
func (a *Account) state(now time.Time) Beat {
	a.mu.Lock()
	defer a.mu.Unlock()
	if span := now.Sub(a.since).Seconds(); span >= beatInterval.Seconds()/2 {
		done := a.done.Load()
		a.rate, a.readers = float64(done-a.before)/span, int(a.reading.Swap(0))
		a.before, a.since = done, now
		a.period.Add(1)
	}
	return Beat{
		Cluster: a.cluster, Owner: a.s.owner, TTL: shareTTL, Tenants: a.tenants,
		Tasks: a.tasks.ask(a.tenants), Updates: a.updates.ask(a.tenants),
		Flows: a.tasks.used + a.readers, DocumentsRate: a.rate,
	}
}

// ask is what a process with so many tenants asks for.
func (s *slots) ask(tenants int) Ask {
	ask := Ask{Uses: s.used, Wants: s.used + s.waiting}
	if tenants > 0 && s.waiting < s.ahead {
		ask.Spare = s.ahead - s.waiting
	}
	return ask
}

// hear takes over what the store has answered.
func (a *Account) hear(p Pulse, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = at
	a.tasks.give(p.Tasks)
	a.updates.give(p.Updates)
	perFlow := 0.0
	if p.Allowance.DocumentsPerSecond > 0 {
		perFlow = p.Allowance.DocumentsPerSecond / float64(max(1, p.Flows))
	}
	stopped := (a.stop == nil) != (p.Stop == nil)
	if perFlow != a.perFlow || stopped {
		close(a.changed)
		a.changed = make(chan struct{})
	}
	a.perFlow, a.stop, a.reason = perFlow, p.Stop, p.Reason
	a.limitReads()
	a.begin()
}

// limitReads sets the pace of what the process itself reads: that of as many
// flows as read at the moment.
func (a *Account) limitReads() {
	limit := rate.Inf
	if a.perFlow > 0 {
		limit = rate.Limit(a.perFlow * float64(max(1, a.readers)))
	}
	if limit == a.limiter.Limit() {
		return
	}
	a.limiter.SetLimit(limit)
	a.limiter.SetBurst(burst(limit))
}

// burst is a quarter of a second's worth: so long a wait is not interrupted.
func burst(limit rate.Limit) int {
	if limit == rate.Inf {
		return 1
	}
	return max(1, int(math.Min(float64(limit)/4, 1<<20)))
}

// begin says that the first beat is over.
func (a *Account) begin() {
	if a.first {
		a.first = false
		close(a.ready)
	}
}

// doubt keeps what is in use, and gives out nothing more when the store has not
// answered for as long as a share lives.
func (a *Account) doubt(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.heard) >= shareTTL {
		a.tasks.given, a.updates.given = 0, 0
	}
	a.s.log.Debug("no answer to a beat", "cluster", a.cluster, "error", err)
}

func (s *slots) give(n int) {
	if s.given = n; s.used < n && s.waiting > 0 {
		s.free()
	}
}

// free wakes those who wait.
func (s *slots) free() {
	close(s.freed)
	s.freed = make(chan struct{})
}

// want asks for a beat now.
func (a *Account) want() {
	select {
	case a.wanting <- struct{}{}:
	default:
	}
}

// TakeTask waits for a slot of a copy task until ctx ends, or until giveUp,
// asked a few times a second, is not nil. It returns what gives it back.
func (a *Account) TakeTask(ctx context.Context, giveUp func() error) (func(), error) {
	if a == nil {
		return func() {}, nil
	}
	return a.take(ctx, &a.tasks, giveUp)
}

// AdoptTask takes a slot whether there is one or not: a task that a dead worker
// has started runs.
func (a *Account) AdoptTask() func() {
	if a == nil {
		return func() {}
	}
	return a.force(&a.tasks)
}

// CountUpdate takes a slot of an update that does not wait.
func (a *Account) CountUpdate() func() {
	if a == nil {
		return func() {}
	}
	return a.force(&a.updates)
}

func (a *Account) force(s *slots) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.used++
	return func() { a.back(s) }
}

// TakeUpdate waits for a slot of a cluster-state update.
func (a *Account) TakeUpdate(ctx context.Context) (func(), error) {
	if a == nil {
		return func() {}, nil
	}
	return a.take(ctx, &a.updates, nil)
}

func (a *Account) take(ctx context.Context, s *slots, giveUp func() error) (func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for first := true; s.used >= s.given; first = false {
		s.waiting++
		freed := s.freed
		a.mu.Unlock()
		if first {
			a.want()
		}
		err := a.pause(ctx, freed, giveUp)
		a.mu.Lock()
		if s.waiting--; err != nil {
			return nil, err
		}
	}
	s.used++
	return func() { a.back(s) }, nil
}

func (a *Account) pause(ctx context.Context, freed <-chan struct{}, giveUp func() error) error {
	t := time.NewTimer(beatInterval / 2)
	defer t.Stop()
	select {
	case <-freed:
	case <-t.C:
		if giveUp != nil {
			return giveUp()
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (a *Account) back(s *slots) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.used--; s.waiting > 0 && s.used < s.given {
		s.free()
	}
}

// Stopped is the kill switch, as far as heard.
func (a *Account) Stopped() *Stop {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stop
}

// TaskRate is documents per second of a copy task, when its rollout wants no
// more than most; 0 is not limited in both.
func (a *Account) TaskRate(most float64) float64 {
	if a == nil {
		return most
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if most == 0 || a.perFlow > 0 && a.perFlow < most {
		return a.perFlow
	}
	return most
}

// Copied counts documents that the engine has copied.
func (a *Account) Copied(n int64) {
	if a != nil && n > 0 {
		a.done.Add(n)
	}
}

// Resumed waits, no longer than until the next beat, to hear that a stop is
// over of which the rows say so already.
func (a *Account) Resumed(ctx context.Context) error {
	if a.Stopped() == nil {
		return nil
	}
	news := a.News()
	a.want()
	return a.pause(ctx, news, nil)
}

// News is closed when the pace of copies has changed, or everything is to stop.
func (a *Account) News() <-chan struct{} {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// Reader is one tenant that reads documents; it counts as one flow, however
// many of its indices are read at once.
type Reader struct {
	period atomic.Int64 // in which it was counted last
}

// present has the reader counted in this period.
func (r *Reader) present(a *Account) {
	if now := a.period.Load() + 1; r.period.Swap(now) != now {
		a.reading.Add(1)
	}
}

// Read counts documents that were read to be copied or compared, and waits
// until the budget allows further ones. It ends early, with ErrStopped, when
// everything is to stop.
func (a *Account) Read(ctx context.Context, r *Reader, n int) error {
	if a == nil || n == 0 {
		return nil
	}
	for r.present(a); n > 0 && a.limiter.Limit() != rate.Inf && a.Stopped() == nil; r.present(a) {
		part := min(n, a.limiter.Burst())
		err := a.limiter.WaitN(ctx, part)
		switch {
		case err == nil:
			a.done.Add(int64(part))
			n -= part
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default: // the limit has become smaller meanwhile
			if err := a.pause(ctx, nil, nil); err != nil {
				return err
			}
		}
	}
	a.done.Add(int64(n))
	if a.Stopped() != nil {
		return ErrStopped
	}
	return nil
}
