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
	// pingLimit bounds the questions to the database, and to a cluster, whether
	// they are there; together they fit into the time of a health check.
	pingLimit = 900 * time.Millisecond
	// stragglers is how long the others are waited for when one cluster has
	// answered: whoever asks a process whether it is ready has little patience.
	stragglers = 500 * time.Millisecond
)

// readiness says whether the process can do its work. It needs the database and
// a search cluster: one of several that is down has its own tenants wait, and
// must not take TMS away from the others, nor from Tracardi, which asks who its
// tenant is. What is slow because everything is busy is not away: see presence.
type readiness struct {
	database *db.DB
	clusters looked
	log      *slog.Logger

	mu     sync.Mutex
	store  presence
	names  []string             // of the clusters, as they were known last
	engine map[string]*presence // by cluster
	away   map[string]bool      // clusters of which the log says that they do not answer
}

// ready is server.Config.Ready. It is safe for concurrent use.
func (r *readiness) ready(ctx context.Context) (missing []string, err error) {
	names, err := r.known(ctx)
	r.mu.Lock()
	gone := r.store.judge(err, time.Now())
	if err == nil {
		r.names = names
	}
	names = r.names
	r.mu.Unlock()
	if gone != nil {
		return nil, fmt.Errorf("database: %w", gone)
	}
	if err != nil {
		missing = append(missing, fmt.Sprintf("database: %v", err))
	}
	answers := r.ask(ctx, names)
	away := r.judge(names, answers)
	for _, name := range names {
		if err := answers[name]; err != nil {
			missing = append(missing, fmt.Sprintf("cluster %s: %v", name, err))
		}
	}
	switch {
	case len(away) < len(names):
		return missing, nil
	case len(names) == 1:
		return nil, fmt.Errorf("search engine: %w", answers[names[0]])
	}
	return nil, errors.New("no search cluster answers: " + strings.Join(missing, "; "))
}

// known asks the database for its schema and the clusters.
func (r *readiness) known(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if err := r.database.CheckVersion(ctx); err != nil {
		return nil, err
	}
	return r.clusters.Names(ctx)
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

// judge returns the clusters that are away, and logs what has changed.
func (r *readiness) judge(names []string, answers map[string]error) (away map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	engine := map[string]*presence{}
	away = map[string]bool{}
	for _, name := range names {
		p := r.engine[name]
		if p == nil {
			p = &presence{}
		}
		engine[name] = p
		err := p.judge(answers[name], time.Now())
		switch {
		case err != nil && !r.away[name]:
			r.log.Warn("search cluster does not answer", "cluster", name, "error", err)
		case err == nil && r.away[name]:
			r.log.Info("search cluster answers again", "cluster", name)
		}
		if err != nil {
			away[name] = true
		}
	}
	r.engine, r.away = engine, away
	return away
}
