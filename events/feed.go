package events

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"sync"
	"time"
)

const (
	// sweep is how often events are looked for that nobody announced: it
	// bounds how late an expiry by the clock becomes an event, and a lost
	// notification.
	sweep = time.Second
	// askTimeout bounds one question to the store.
	askTimeout = 5 * time.Second
	// again is the pause after a failure of the store.
	again = 250 * time.Millisecond
	// recent events are kept in memory, so that many followers do not ask the
	// store for the same.
	recent = 4096
	// batch is the most events that are read at once.
	batch = 1000
)

// Head is how far the events are.
type Head struct {
	Newest int64 // number of the newest event, 0 before the first
	Floor  int64 // events up to this number are kept no longer
}

// Log keeps events. Safe for concurrent use.
type Log interface {
	// Advance gives numbers to committed events that have none, makes events
	// of expiries whose time has come, removes what is too old, and returns
	// how far the events are now. Any number of processes may call it.
	Advance(ctx context.Context) (Head, error)
	// After returns events with higher numbers, in order.
	After(ctx context.Context, number int64, limit int) ([]Event, error)
	// Listen returns when every later event is certain to ring the bell.
	Listen(ctx context.Context) (Bell, error)
}

// Bell rings when something was written. It is used by one goroutine.
type Bell interface {
	// Wait returns when it rings, or when ctx ends; an error means that the
	// bell is broken.
	Wait(ctx context.Context) error
	Close()
}

// Feed follows the log for all who follow it in this process. It is safe for
// concurrent use.
type Feed struct {
	log Log
	out *slog.Logger

	mu      sync.RWMutex
	head    Head
	window  []Event       // the newest events, without a gap
	changed chan struct{} // closed when the head moves
	ready   chan struct{} // closed when the head is known
	once    sync.Once

	asking sync.Mutex // one question at a time
}

// NewFeed returns a feed that stands still until Run. log may be nil.
func NewFeed(store Log, log *slog.Logger) *Feed {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Feed{log: store, out: log, changed: make(chan struct{}), ready: make(chan struct{})}
}

// Run follows the log until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	for failing := false; ctx.Err() == nil; {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if !failing {
			f.out.WarnContext(ctx, "events cannot be followed; trying again", "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

func (f *Feed) follow(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, askTimeout)
	bell, err := f.log.Listen(asked)
	cancel()
	if err != nil {
		return err
	}
	defer bell.Close()
	for {
		if err := f.advance(ctx); err != nil {
			return err
		}
		quiet, cancel := context.WithTimeout(ctx, sweep)
		err := bell.Wait(quiet)
		cancel()
		if err = errors.Join(ctx.Err(), err); err != nil {
			return err
		}
	}
}

// Catch takes in all that was committed before the call, and returns how far
// the events are.
func (f *Feed) Catch(ctx context.Context) (Head, error) {
	if err := f.advance(ctx); err != nil {
		return Head{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.head, nil
}

// advance takes in what is new.
func (f *Feed) advance(ctx context.Context) error {
	f.asking.Lock()
	defer f.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	head, err := f.log.Advance(ctx)
	if err != nil {
		return err
	}
	f.mu.RLock()
	at, known := f.head.Newest, f.isReady()
	f.mu.RUnlock()
	var fresh []Event
	// What is further back than memory reaches is read by those who need it.
	if from := max(at, head.Newest-recent); known && head.Newest > at {
		at = from
	} else {
		at = head.Newest
	}
	for at < head.Newest {
		some, err := f.log.After(ctx, at, batch)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		at = some[len(some)-1].Number
		for _, e := range some {
			if e.Number <= head.Newest { // what came after is for the next time
				fresh = append(fresh, e)
			}
		}
	}
	f.take(head, fresh)
	return nil
}

func (f *Feed) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

func (f *Feed) take(head Head, fresh []Event) {
	f.mu.Lock()
	moved := head.Newest != f.head.Newest
	if len(fresh) > 0 && len(f.window) > 0 && f.window[len(f.window)-1].Number+1 != fresh[0].Number {
		f.window = nil // a window has no gap
	}
	f.window = append(f.window, fresh...)
	if extra := len(f.window) - recent; extra > 0 {
		f.window = append([]Event(nil), f.window[extra:]...)
	}
	f.head = head
	if moved {
		close(f.changed)
		f.changed = make(chan struct{})
	}
	f.mu.Unlock()
	f.once.Do(func() { close(f.ready) })
}

// Head is how far the events are, and a channel that is closed when there are
// more. It waits until this process knows.
func (f *Feed) Head(ctx context.Context) (Head, <-chan struct{}, error) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return Head{}, nil, ctx.Err()
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.head, f.changed, nil
}

// After returns events with higher numbers, in order, from memory where it
// reaches far enough. They are shared: do not change them.
func (f *Feed) After(ctx context.Context, number int64) ([]Event, error) {
	f.mu.RLock()
	window := f.window
	f.mu.RUnlock()
	if len(window) > 0 && window[0].Number <= number+1 {
		i := sort.Search(len(window), func(i int) bool { return window[i].Number > number })
		return window[i:min(i+batch, len(window))], nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return f.log.After(ctx, number, batch)
}
