package events

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tracardi/tms/tenants"
)

// Bounds of watches.
const (
	// MaxWatches of one process; each costs a goroutine and the ids of the
	// tenants that it has shown.
	MaxWatches = 1000
	// MaxWatchesPerKey keeps one key from taking them all.
	MaxWatchesPerKey = 100
	// BookmarkInterval is how often a watch says that it lives, and where it
	// stands.
	BookmarkInterval = 10 * time.Second
	snapshotPage     = 500
)

// Registry is where tenants are read, *tenants.Service.
type Registry interface {
	List(context.Context, tenants.ListRequest) (tenants.ListResult, error)
	GetRevision(ctx context.Context, id string, revision int64) (*tenants.Tenant, error)
}

// WatchesConfig configures Watches.
type WatchesConfig struct {
	Feed     *Feed
	Registry Registry
	Pages    *tenants.Pages // signs tokens
	// Bookmark is how often a bookmark comes, 0 for BookmarkInterval.
	Bookmark time.Duration
	Now      func() time.Time // nil for time.Now
}

// Watches lets clients follow tenants. It is safe for concurrent use.
type Watches struct {
	c WatchesConfig

	mu     sync.Mutex
	total  int
	perKey map[string]int
}

// NewWatches wires Watches.
func NewWatches(c WatchesConfig) *Watches {
	if c.Bookmark <= 0 {
		c.Bookmark = BookmarkInterval
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Watches{c: c, perKey: map[string]int{}}
}

// WatchRequest says what to follow.
type WatchRequest struct {
	KeyID string // of the caller
	// Filter chooses tenants; its order, position and limit do not count.
	Filter tenants.Filter
	// Token is where an earlier watch with the same filter stood, "" to begin
	// with all tenants as they are.
	Token string
}

// Kind says what a Notice is.
type Kind string

// Kinds of notices. A watch without token begins with present ones and a
// synced one.
const (
	KindPresent  Kind = "present"  // a tenant that is there
	KindSynced   Kind = "synced"   // all that are there have been told
	KindEvent    Kind = "event"    // something happened to a tenant
	KindBookmark Kind = "bookmark" // nothing happened; the token is new
)

// Notice is one message of a watch.
type Notice struct {
	Kind  Kind
	Event Event // of KindEvent
	// Tenant is as it is now, which may be newer than the event; nil when it
	// is gone altogether.
	Tenant *tenants.Tenant
	// Matches says whether the tenant meets the filter now; who is told that
	// it does not, forgets it.
	Matches bool
	// Rollout is what a notice of a watch of rollouts is about.
	Rollout string
	// Token continues behind this notice; "" before all present are told.
	Token string
}

// Watch tells send what happens until ctx ends or send fails, and returns why
// it ended. Notices come in the order of the events and may come twice around
// a beginning: they tell how things are now.
func (w *Watches) Watch(ctx context.Context, r WatchRequest, send func(Notice) error) error {
	leave, err := w.enter(r.KeyID)
	if err != nil {
		return err
	}
	defer leave()
	f := r.Filter
	one := &watch{filter: f, shown: map[string]bool{}}
	one.follower = &follower{
		Watches: w, send: send, resumed: r.Token != "", present: one.present, tellOne: one.tellOne,
		query: tenants.QueryHash("watch", f.State, f.ShowDeleted, f.Release, f.Cluster, f.Labels, f.IDs),
	}
	if err := one.begin(ctx, r.Token); err != nil {
		return err
	}
	return one.follow(ctx)
}

func (w *Watches) enter(key string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.total >= MaxWatches || w.perKey[key] >= MaxWatchesPerKey {
		return nil, &tenants.Error{
			Code: tenants.CodeExhausted, Reason: tenants.ReasonWatchTooMany,
			Message: fmt.Sprintf("%d watches run in this process, %d of them with key %s; at most %d and %d may", w.total, w.perKey[key], key, MaxWatches, MaxWatchesPerKey),
			Remedy:  "end some, or share one among more followers", RetryAfter: time.Second,
		}
	}
	w.total++
	w.perKey[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.total--
		if w.perKey[key]--; w.perKey[key] == 0 {
			delete(w.perKey, key)
		}
	}, nil
}

// watch is one client's, of tenants.
type watch struct {
	*follower
	filter tenants.Filter
	shown  map[string]bool // whether what the client knows of a tenant is that it matches
}

// present tells all tenants there are.
func (w *watch) present(ctx context.Context) error {
	f := w.filter
	f.Order, f.Limit = tenants.Order{}, snapshotPage
	for page := ""; ; {
		found, err := w.c.Registry.List(ctx, tenants.ListRequest{Filter: f, PageToken: page})
		if err != nil {
			return err
		}
		for _, t := range found.Tenants {
			w.shown[t.ID] = true
			if err := w.send(Notice{Kind: KindPresent, Tenant: t, Matches: true}); err != nil {
				return err
			}
		}
		if page = found.NextToken; page == "" {
			return nil
		}
	}
}

func (w *watch) tellOne(ctx context.Context, e Event) error {
	id := e.TenantID()
	// A key that is restricted hears of its tenants only.
	if id == "" || w.filter.IDs != nil && !slices.Contains(w.filter.IDs, id) {
		return nil
	}
	t, err := w.c.Registry.GetRevision(ctx, id, e.Revision)
	if tenants.HasReason(err, tenants.ReasonTenantNotFound) {
		t, err = nil, nil // its tombstone made room for another one
	}
	if err != nil {
		return err
	}
	matches := t != nil && w.filter.Matches(t, w.c.Now())
	known, told := w.shown[id]
	if !matches && !known && (told || !w.resumed) {
		return nil // the client does not know it
	}
	w.shown[id] = matches
	n := Notice{Kind: KindEvent, Event: e, Matches: matches, Token: w.token()}
	if t != nil {
		n.Tenant = t.Clone()
	}
	return w.send(n)
}

// Facts are an event's particulars as they are shown: without what only TMS
// needs, and with the etag in its place.
func (e Event) Facts() map[string]any {
	facts := maps.Clone(e.Data)
	if facts == nil {
		facts = map[string]any{}
	}
	if delete(facts, "revision"); e.Revision > 0 {
		facts["etag"] = (&tenants.Tenant{Revision: e.Revision}).Etag()
	}
	return facts
}
