package budget

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Steward manages this process's share of the clusters' budgets. It asks the
// store once in a while for all tenants that the process works on, and hands
// out slots of what it was given from memory: a step costs no round trip. Safe
// for concurrent use; a nil Steward limits nothing.
type Steward struct {
	store    Store
	clusters Clusters
	defaults Budget
	owner    string
	log      *slog.Logger

	mu       sync.Mutex
	accounts map[string]*Account
	running  sync.WaitGroup
	closing  chan struct{}
	once     sync.Once
}

// Pace of a Steward.
const (
	// beatInterval bounds how late a process obeys, beside what its steps take.
	beatInterval = 500 * time.Millisecond
	// shareTTL is how long a share outlives its process.
	shareTTL = 6 * time.Second
	// lingerTime is how long an account stays open without a tenant, so that the
	// next tenant begins with a share.
	lingerTime = 3 * time.Second
	// sampleTimeout bounds a look at the cluster.
	sampleTimeout = 3 * time.Second
	// beatTimeout bounds a statement.
	beatTimeout = 2 * time.Second
)

// NewSteward wires a Steward; owner names the process, defaults are the budget
// of a cluster for which nothing else was set.
func NewSteward(store Store, clusters Clusters, defaults Budget, owner string, log *slog.Logger) *Steward {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Steward{store: store, clusters: clusters, defaults: defaults, owner: owner, log: log, accounts: map[string]*Account{}, closing: make(chan struct{})}
}

// Begin makes the budget of a cluster known before the first tenant is worked on
// there; that of others is then.
func (s *Steward) Begin(ctx context.Context, cluster string) error {
	return s.store.EnsureBudget(ctx, cluster, s.defaults)
}

// Open joins the account of a cluster, which is opened where there is none. It
// returns when the process has a share, or the store has no answer in time:
// then the tenant begins with nothing, and gets it when there is one.
func (s *Steward) Open(ctx context.Context, cluster string) *Account {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	a := s.accounts[cluster]
	if a == nil {
		a = newAccount(s, cluster)
		s.accounts[cluster] = a
		s.running.Go(a.run)
	}
	a.join()
	s.mu.Unlock()
	select {
	case <-a.ready:
	case <-ctx.Done():
	case <-time.After(beatTimeout):
	}
	return a
}

// Close waits for the accounts to end, which they do when their tenants have
// left, or gives up with ctx.
func (s *Steward) Close(ctx context.Context) error {
	s.once.Do(func() { close(s.closing) })
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retire removes an account that nobody has joined; false says that somebody has.
func (s *Steward) retire(a *Account) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tenants > 0 {
		return false
	}
	delete(s.accounts, a.cluster)
	return true
}

// run beats until nobody needs the account.
func (a *Account) run() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	idle, linger, closing := time.Time{}, lingerTime, a.s.closing
	for {
		a.beat()
		select {
		case <-tick.C:
		case <-a.wanting:
		case <-closing:
			closing, linger = nil, 0
			tick.Reset(beatInterval / 10)
		}
		switch {
		case a.busy():
			idle = time.Time{}
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) >= linger && a.s.retire(a):
			a.leave()
			return
		}
	}
}

// beat tells the store what the process uses and wants, and hears what it has.
func (a *Account) beat() {
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	asked := time.Now()
	said := a.state(asked)
	pulse, err := a.s.store.Beat(ctx, said)
	if errors.Is(err, ErrNone) {
		if err = a.s.store.EnsureBudget(ctx, a.cluster, a.s.defaults); err == nil {
			pulse, err = a.s.store.Beat(ctx, said)
		}
	}
	switch {
	case err != nil:
		a.doubt(err)
	default:
		a.hear(pulse, asked)
		if pulse.Sample && a.sampling.CompareAndSwap(false, true) {
			a.s.running.Go(func() {
				defer a.sampling.Store(false)
				a.sample()
			})
		}
	}
}

// sample looks at the cluster for all processes, and adapts its budget.
func (a *Account) sample() {
	ctx, cancel := context.WithTimeout(context.Background(), sampleTimeout)
	defer cancel()
	v, failed := a.vitals(ctx)
	ctx, cancel = context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	err := a.s.store.AdaptBudget(ctx, a.cluster, func(b Budget, t Throttle, rate float64) Throttle {
		if !b.Adapt {
			return Throttle{Best: t.Best, Seen: v, Problem: failed}
		}
		next := Adapt(b, t, v, failed, rate, time.Now())
		if next.Reason != t.Reason {
			a.s.log.Info("budget adapted", "cluster", a.cluster, "level", next.Level, "reason", next.Reason)
		}
		return next
	})
	if err != nil {
		a.s.log.Warn("budget not adapted", "cluster", a.cluster, "error", err)
	}
}

func (a *Account) vitals(ctx context.Context) (v Vitals, failed string) {
	source, err := a.s.clusters(ctx, a.cluster)
	if err == nil {
		if source == nil {
			return v, ""
		}
		v, err = source.ClusterVitals(ctx, a.probed())
	}
	if err != nil {
		return v, err.Error()
	}
	return v, ""
}

func (a *Account) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	if err := a.s.store.Leave(ctx, a.cluster, a.s.owner); err != nil {
		a.s.log.Debug("share not given back, it ends by itself", "cluster", a.cluster, "error", err)
	}
}
