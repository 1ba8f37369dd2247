package budget

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ledger is a budget of which one process has all there is. What processes
// share is tested on Postgres (package db).
type ledger struct {
	Store
	mu     sync.Mutex
	budget Budget
	stop   *Stop
	away   bool
	last   Beat
	beats  int
	left   bool
}

func (l *ledger) EnsureBudget(context.Context, string, Budget) error { return nil }

func (l *ledger) Beat(_ context.Context, b Beat) (Pulse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return Pulse{}, errors.New("no database")
	}
	l.last, l.left = b, false
	l.beats++
	give := func(a Ask, most int) int { return max(a.Uses, min(a.Wants+a.Spare, most)) }
	return Pulse{
		Allowance: l.budget.Under(Throttle{}), Tasks: give(b.Tasks, l.budget.CopyTasks), Updates: give(b.Updates, l.budget.StateUpdates),
		Flows: b.Flows, Stop: l.stop,
	}, nil
}

func (l *ledger) Leave(context.Context, string, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	return nil
}

func (l *ledger) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// nowhere has no cluster that could be asked.
func nowhere(context.Context, string) (VitalsSource, error) { return nil, nil }

// stewardOf runs f with an account on a budget, in a time of its own.
func stewardOf(t *testing.T, b Budget, f func(*testing.T, *ledger, *Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{budget: b}
		s := NewSteward(l, nowhere, b, "me", nil)
		a := s.Open(t.Context(), "default")
		f(t, l, a)
		a.Part()
		require.NoError(t, s.Close(context.Background()))
		require.True(t, l.left, "the share was given back")
	})
}

// pass lets time pass: that of the test, not of the machine.
func pass(d time.Duration) { <-time.After(d) }

func TestSlotsAreWaitedFor(t *testing.T) {
	t.Parallel()
	b := Default()
	b.CopyTasks = 2
	stewardOf(t, b, func(t *testing.T, l *ledger, a *Account) {
		one, err := a.TakeTask(t.Context(), nil)
		require.NoError(t, err)
		_, err = a.TakeTask(t.Context(), nil)
		require.NoError(t, err)
		third := make(chan func())
		go func() {
			back, _ := a.TakeTask(t.Context(), nil)
			third <- back
		}()
		synctest.Wait()
		pass(time.Minute)
		select {
		case <-third:
			t.Fatal("there were two")
		default:
		}
		l.set(func() { require.Equal(t, Ask{Uses: 2, Wants: 3}, l.last.Tasks) })
		before := time.Now()
		one()
		back := <-third
		require.Less(t, time.Since(before), time.Millisecond, "who waits here is first")
		back()

		_, err = a.TakeTask(t.Context(), nil)
		require.NoError(t, err)
		stop := errors.New("something else")
		before = time.Now()
		_, err = a.TakeTask(t.Context(), func() error { return stop })
		require.ErrorIs(t, err, stop)
		require.LessOrEqual(t, time.Since(before), beatInterval)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.TakeTask(ctx, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		l.set(func() { l.budget.CopyTasks = 5 })
		before = time.Now()
		_, err = a.TakeTask(t.Context(), nil)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(before), beatInterval, "a larger budget is heard of soon")
	})
}

// While nothing is limited, slots cost no call of the store.
func TestNothingIsAskedForInTheNormalCase(t *testing.T) {
	t.Parallel()
	stewardOf(t, Default(), func(t *testing.T, l *ledger, a *Account) {
		for range 10_000 {
			back, err := a.TakeUpdate(t.Context())
			require.NoError(t, err)
			back()
			require.NoError(t, a.Read(t.Context(), &Reader{}, 1000))
		}
		l.set(func() { require.Equal(t, 1, l.beats) })
	})
}

func TestDocumentsPerSecond(t *testing.T) {
	t.Parallel()
	b := Default()
	b.DocumentsPerSecond = 1000
	stewardOf(t, b, func(t *testing.T, l *ledger, a *Account) {
		run := func(readers int, each time.Duration) float64 {
			var done atomic.Int64
			ctx, cancel := context.WithTimeout(t.Context(), each)
			defer cancel()
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					for r := (&Reader{}); a.Read(ctx, r, 500) == nil; {
						done.Add(500)
					}
				})
			}
			wg.Wait()
			return float64(done.Load()) / each.Seconds()
		}
		require.InDelta(t, 1000, run(1, time.Minute), 30)
		require.InDelta(t, 1000, run(4, time.Minute), 80, "several share it")

		// An engine's task is a flow like another one.
		back := a.AdoptTask()
		pass(2 * beatInterval)
		require.InDelta(t, 500, run(1, time.Minute), 30)
		require.InDelta(t, 500, a.TaskRate(0), 1e-9)
		require.InDelta(t, 100, a.TaskRate(100), 0, "the rollout wants less")
		back()

		l.set(func() { l.budget.DocumentsPerSecond = 100 })
		pass(2 * beatInterval)
		require.InDelta(t, 100, run(1, time.Minute), 10)
		l.set(func() { l.budget.DocumentsPerSecond = 0 })
		pass(2 * beatInterval)
		before := time.Now()
		require.NoError(t, a.Read(t.Context(), &Reader{}, 1_000_000))
		require.Zero(t, time.Since(before))
	})
}

// Whoever reads slowly is stopped in the middle of it.
func TestStopReachesReaders(t *testing.T) {
	t.Parallel()
	b := Default()
	b.DocumentsPerSecond = 1
	stewardOf(t, b, func(t *testing.T, l *ledger, a *Account) {
		ended := make(chan error)
		go func() { ended <- a.Read(t.Context(), &Reader{}, 1000) }()
		news := a.News()
		pass(10 * time.Second)
		l.set(func() { l.stop = &Stop{Reason: "fire"} })
		before := time.Now()
		require.ErrorIs(t, <-ended, ErrStopped)
		require.Less(t, time.Since(before), 2*time.Second)
		<-news
		require.Equal(t, "fire", a.Stopped().Reason)
		l.set(func() { l.stop = nil })
		pass(2 * beatInterval)
		require.Nil(t, a.Stopped())
	})
}

// Without a database nothing more is given out than was, and after the end of
// the share nothing at all.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	stewardOf(t, Default(), func(t *testing.T, l *ledger, a *Account) {
		l.set(func() { l.away = true })
		_, err := a.TakeTask(t.Context(), nil)
		require.NoError(t, err, "it was given already")
		pass(2 * shareTTL)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = a.TakeUpdate(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		l.set(func() { l.away = false })
		_, err = a.TakeUpdate(t.Context())
		require.NoError(t, err)
	})
}

func TestAccountsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{budget: Default()}
		s := NewSteward(l, nowhere, Default(), "me", nil)
		s.Open(t.Context(), "a").Part()
		again := s.Open(t.Context(), "a")
		s.Open(t.Context(), "b").Part()
		pass(time.Minute)
		s.mu.Lock()
		require.Len(t, s.accounts, 1, "one that nobody uses has ended")
		require.Same(t, again, s.accounts["a"])
		s.mu.Unlock()
		again.Part()
		pass(time.Minute)
		require.NoError(t, s.Close(t.Context()))
		require.Empty(t, s.accounts)
	})
}

// Without a steward nothing is limited.
func TestNoSteward(t *testing.T) {
	t.Parallel()
	var s *Steward
	a := s.Open(t.Context(), "default")
	for _, take := range []func() (func(), error){
		func() (func(), error) { return a.TakeTask(t.Context(), nil) },
		func() (func(), error) { return a.TakeUpdate(t.Context()) },
		func() (func(), error) { return a.AdoptTask(), nil },
		func() (func(), error) { return a.CountUpdate(), nil },
	} {
		back, err := take()
		require.NoError(t, err)
		back()
	}
	require.NoError(t, a.Read(t.Context(), &Reader{}, 10))
	require.InDelta(t, 7, a.TaskRate(7), 0)
	require.Nil(t, a.Stopped())
	a.Look("x")
	a.Copied(3)
	a.Part()
}
