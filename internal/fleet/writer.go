package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The writer's patience with an index that refuses writes. The first delay is
// well below the length of a write fence, so that the longest gap that a
// writer measures is the fence's and not its own.
const (
	firstBackoff = 5 * time.Millisecond
	mostBackoff  = 100 * time.Millisecond
	// refusedFor ends a writer that was refused all the time for so long:
	// a fence that nobody lifts is a fault, and the run must end.
	refusedFor = 3 * time.Minute
)

// WriterConfig says how a Writer works.
type WriterConfig struct {
	// Rate is operations per second; 0 is as fast as the engine answers.
	Rate float64
	// Bulk is the most operations in one bulk request; half of all requests
	// are single ones. 0 and 1 make all of them single.
	Bulk int
	// Seed makes the choices repeatable, together with the tenant's seed.
	Seed uint64
	// Updates and Deletes are parts of all operations; the rest are new
	// documents. Both zero means 0.3 and 0.1.
	Updates, Deletes float64
}

// WriterStats is what a writer has done so far.
type WriterStats struct {
	Acknowledged int64
	Inserted     int64
	Updated      int64
	Deleted      int64
	// Refused counts operations that a write block or a full queue refused.
	Refused int64
	// Uncertain counts operations whose answer never came.
	Uncertain int64
	// Invalid counts operations that the engine refused as malformed; a
	// correct run has none. LastInvalid is the latest reason.
	Invalid     int64
	LastInvalid string
	// LongestGap is the longest time between two acknowledged writes, pauses
	// not counted.
	LongestGap time.Duration
	// Switches counts how often the writer followed its aliases to another
	// release.
	Switches int
	Release  string // version that is written now
}

// Writer keeps writing to one tenant as Tracardi's containers do: to full,
// versioned index names, whatever the aliases say, until an index refuses.
// Its methods are safe for concurrent use.
type Writer struct {
	tenant  *Tenant
	cfg     WriterConfig
	rng     *rand.Rand
	limiter *rate.Limiter
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	stats   WriterStats
	last    time.Time // of the last acknowledged write; zero after a pause
	resumed chan struct{}
	idle    chan struct{} // closed while paused and nothing is in flight
	stepped chan struct{} // closed after the next request, for Wait
	err     error
}

// StartWriter starts a writer, which works until Stop or the end of ctx. A
// tenant may have several; each writes documents of its own as well as those
// of Fill, so only one of them should update and delete.
func (t *Tenant) StartWriter(ctx context.Context, cfg WriterConfig) *Writer {
	if cfg.Updates == 0 && cfg.Deletes == 0 {
		cfg.Updates, cfg.Deletes = 0.3, 0.1
	}
	limit := rate.Inf
	if cfg.Rate > 0 {
		limit = rate.Limit(cfg.Rate)
	}
	w := &Writer{
		tenant:  t,
		cfg:     cfg,
		rng:     rand.New(rand.NewPCG(t.cfg.Seed, cfg.Seed)),
		limiter: rate.NewLimiter(limit, max(cfg.Bulk, 1)),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		stepped: make(chan struct{}),
	}
	go w.run(ctx)
	return w
}

// Stop ends the writer and waits for its last operation, so that the history
// is exact afterwards. It returns why the writer gave up before, if it did.
func (w *Writer) Stop() error {
	w.once.Do(func() { close(w.stop) })
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Pause returns when the writer has nothing in flight any more and stays so
// until Resume. The gap it makes is not counted.
func (w *Writer) Pause(ctx context.Context) error {
	w.mu.Lock()
	if w.resumed == nil {
		w.resumed, w.idle = make(chan struct{}), make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	select {
	case <-idle:
	case <-w.done:
	case <-ctx.Done():
		return fmt.Errorf("pause the writer of %s: %w", w.tenant.cfg.Tenant, ctx.Err())
	}
	return nil
}

// Resume ends a Pause. A writer that was away looks at the aliases first, as a
// container does that starts.
func (w *Writer) Resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resumed != nil {
		close(w.resumed)
		w.resumed, w.last = nil, time.Time{}
	}
}

// Stats is what the writer has done so far.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Release = w.tenant.history.release()
	return s
}

// Wait returns once enough says so of the writer's figures, which it is asked
// after every request, or with an error when the writer or ctx ends before.
func (w *Writer) Wait(ctx context.Context, enough func(WriterStats) bool) error {
	for {
		w.mu.Lock()
		stepped := w.stepped
		w.mu.Unlock()
		if enough(w.Stats()) {
			return nil
		}
		select {
		case <-stepped:
		case <-w.done:
			return fmt.Errorf("writer of %s ended before: %+v", w.tenant.cfg.Tenant, w.Stats())
		case <-ctx.Done():
			return fmt.Errorf("writer of %s: %w: %+v", w.tenant.cfg.Tenant, ctx.Err(), w.Stats())
		}
	}
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	delay := firstBackoff
	var since time.Time // of the first refusal in a row
	for w.ready(ctx) {
		progress, err := w.step(ctx)
		w.mu.Lock()
		close(w.stepped)
		w.stepped = make(chan struct{})
		w.mu.Unlock()
		if progress && err == nil {
			delay, since = firstBackoff, time.Time{}
			continue
		}
		if err != nil && ctx.Err() == nil {
			w.tenant.log.Debug("writer met an error", "error", err)
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > refusedFor {
			w.fail(fmt.Errorf("writer of %s made no progress for %s: %w", w.tenant.cfg.Tenant, refusedFor, errors.Join(err, errRefused)))
			return
		}
		if !w.wait(ctx, delay) {
			return
		}
		delay = min(delay*2, mostBackoff)
		w.follow(ctx)
	}
}

// follow moves on to the release that the aliases point to.
func (w *Writer) follow(ctx context.Context) {
	if err := w.tenant.followAliases(ctx, w); err != nil && ctx.Err() == nil {
		w.tenant.log.Debug("writer cannot read the aliases", "error", err)
	}
}

var errRefused = errors.New("every write was refused")

// ready waits out a pause and the rate limit; false means stop.
func (w *Writer) ready(ctx context.Context) bool {
	w.mu.Lock()
	resumed := w.resumed
	if resumed != nil {
		close(w.idle)
	}
	w.mu.Unlock()
	if resumed != nil {
		select {
		case <-resumed:
		case <-w.stop:
			return false
		case <-ctx.Done():
			return false
		}
		w.follow(ctx)
	}
	select {
	case <-w.stop:
		return false
	case <-ctx.Done():
		return false
	default:
	}
	if delay := w.limiter.Reserve().Delay(); delay > 0 {
		return w.wait(ctx, delay)
	}
	return true
}

func (w *Writer) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stop:
		return false
	case <-ctx.Done():
		return false
	}
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// step sends one request. Progress is false when all of it was refused.
func (w *Writer) step(ctx context.Context) (progress bool, err error) {
	n := 1
	if w.cfg.Bulk > 1 && w.rng.IntN(2) == 0 {
		n += w.rng.IntN(w.cfg.Bulk)
	}
	ops, err := w.compose(ctx, n)
	if err != nil {
		return false, err
	}
	if len(ops) == 0 { // every document chosen was gone or in doubt
		return true, nil
	}
	if n > 1 {
		w.limiter.ReserveN(time.Now(), len(ops)-1)
	}
	verdicts, err := w.send(ctx, ops)
	if err != nil {
		for _, op := range ops {
			w.tenant.history.doubt(op.release, op.ref, op.before, op.after)
		}
		w.mu.Lock()
		w.stats.Uncertain += int64(len(ops))
		w.mu.Unlock()
		return false, err
	}
	for i, v := range verdicts {
		progress = w.settle(ops[i], v) || progress
	}
	return progress, nil
}

func (w *Writer) send(ctx context.Context, ops []operation) ([]verdict, error) {
	if len(ops) == 1 {
		v, err := w.tenant.engine.single(ctx, ops[0].write)
		return []verdict{v}, err
	}
	writes := make([]write, len(ops))
	for i, op := range ops {
		writes[i] = op.write
	}
	return w.tenant.engine.bulk(ctx, writes)
}

// settle records the answer to one operation; false means refused for now.
func (w *Writer) settle(op operation, v verdict) bool {
	h := w.tenant.history
	if v.acknowledged() {
		h.commit(op.release, op.ref, op.after, false)
	}
	if v.status >= 500 {
		h.doubt(op.release, op.ref, op.before, op.after)
	}
	if v.status == 404 && v.result == "not_found" {
		w.tenant.note(Discrepancy{Missing, op.index, op.id, "the writer wanted to delete it and it was gone"})
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.stats
	switch {
	case v.acknowledged():
		now := time.Now()
		if !w.last.IsZero() {
			s.LongestGap = max(s.LongestGap, now.Sub(w.last))
		}
		w.last = now
		s.Acknowledged++
		*map[action]*int64{insert: &s.Inserted, update: &s.Updated, remove: &s.Deleted}[op.action]++
		return true
	case v.status >= 500:
		s.Uncertain++
		return false
	case v.kind == "cluster_block_exception", v.kind == "index_not_found_exception", v.kind == "index_closed_exception", v.status == 429:
		s.Refused++
		return false
	default:
		s.Invalid++
		s.LastInvalid = fmt.Sprintf("%s/%s: %d %s: %s", op.index, op.id, v.status, v.kind, v.reason)
		return true
	}
}
