package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tracardi/tms/db"
)

const (
	// pingLimit bounds the question to a cluster whether it is there.
	pingLimit = 1500 * time.Millisecond
	// stragglers is how long the others are waited for when one cluster has
	// answered: whoever asks a process whether it is ready has little patience.
	stragglers = 500 * time.Millisecond
)

// readiness says whether the process can do its work. It needs the database and
// a search cluster: one of several that is down has its own tenants wait, and
// must not take TMS away from the others, nor from Tracardi, which asks who its
// tenant is.
type readiness struct {
	database *db.DB
	clusters looked
	log      *slog.Logger
	mu       sync.Mutex
	silent   map[string]bool // clusters that did not answer last time
}

// ready is server.Config.Ready. It is safe for concurrent use.
func (r *readiness) ready(ctx context.Context) (missing []string, err error) {
	if err := r.database.CheckVersion(ctx); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	names, err := r.clusters.Names(ctx)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	answers := r.ask(ctx, names)
	r.note(names, answers)
	for _, name := range names {
		if err := answers[name]; err != nil {
			missing = append(missing, fmt.Sprintf("cluster %s: %v", name, err))
		}
	}
	switch {
	case len(missing) < len(names):
		return missing, nil
	case len(names) == 1:
		return nil, fmt.Errorf("search engine: %w", answers[names[0]])
	}
	return nil, errors.New("no search cluster answers: " + strings.Join(missing, "; "))
}

var errSilent = errors.New("has not answered yet")

// ask pings all clusters at the same time, for no longer than pingLimit.
func (r *readiness) ask(ctx context.Context, names []string) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	type answer struct {
		name string
		err  error
	}
	given := make(chan answer, len(names)) // nobody waits to be heard
	out := map[string]error{}
	for _, name := range names {
		out[name] = errSilent
		go func() {
			client, err := r.clusters.Client(ctx, name)
			if err == nil {
				err = client.Ping(ctx)
			}
			given <- answer{name, err}
		}()
	}
	var late <-chan time.Time
	for range names {
		select {
		case a := <-given:
			out[a.name] = a.err
			if a.err == nil && late == nil {
				late = time.After(stragglers)
			}
		case <-late:
			return out
		}
	}
	return out
}

// note logs what has changed.
func (r *readiness) note(names []string, answers map[string]error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := map[string]bool{}
	for _, name := range names {
		err := answers[name]
		switch {
		case err != nil && !r.silent[name]:
			r.log.Warn("search cluster does not answer", "cluster", name, "error", err)
		case err == nil && r.silent[name]:
			r.log.Info("search cluster answers again", "cluster", name)
		}
		if err != nil {
			silent[name] = true
		}
	}
	r.silent = silent
}
