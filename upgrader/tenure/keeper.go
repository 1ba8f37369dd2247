// Package tenure keeps the lease that a worker was given for as long as it
// works, and tells it when it has lost it.
//
// A lease is a row that somebody else may take over once it has run out. Keep
// extends it in the background; what changes something asks Held right before,
// which says no as soon as it is not certain, without asking anybody.
package tenure

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Terms are those of one lease; all of them are needed.
type Terms struct {
	Until time.Time     // it runs out then, by this process's clock
	TTL   time.Duration // by which it is extended, four times as often as needed
	// Extend has it run for TTL from now on; its context ends after half of
	// that. It returns Lost when somebody else has it; any other error is tried
	// again while the lease runs.
	Extend func(context.Context) error
	Lost   error
}

// Keeper extends a lease until stopped, and ends its context when the lease is
// lost. Safe for concurrent use.
type Keeper struct {
	terms  Terms
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu    sync.Mutex
	until time.Time
}

// Keep begins to extend a lease. The Keeper has to be stopped.
func Keep(ctx context.Context, t Terms) *Keeper {
	k := &Keeper{terms: t, done: make(chan struct{}), until: t.Until}
	k.ctx, k.cancel = context.WithCancelCause(ctx)
	go k.loop()
	return k
}

// Context is for the work under the lease. It ends with the one given to Keep,
// when the Keeper is stopped, and with Terms.Lost as its cause when the lease is
// lost.
func (k *Keeper) Context() context.Context { return k.ctx }

// Held says whether the lease is certainly still ours.
func (k *Keeper) Held() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Before(k.until)
}

// Forfeit ends the context as if the lease was lost, which whoever has found it
// not held does, and returns Terms.Lost.
func (k *Keeper) Forfeit() error {
	k.cancel(k.terms.Lost)
	return k.terms.Lost
}

// Stop ends the context and waits until nothing extends the lease any more. It
// does not give the lease back.
func (k *Keeper) Stop() {
	k.cancel(nil)
	<-k.done
}

func (k *Keeper) loop() {
	defer close(k.done)
	tick := time.NewTicker(k.terms.TTL / 4)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(k.ctx, k.terms.TTL/2)
		err := k.terms.Extend(ctx)
		cancel()
		switch {
		case err == nil:
			k.mu.Lock()
			k.until = asked.Add(k.terms.TTL)
			k.mu.Unlock()
		case errors.Is(err, k.terms.Lost) || !k.Held():
			k.cancel(k.terms.Lost)
			return
		}
	}
}
