package elastic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// MaxClients is the number of clusters that a Pool keeps clients of.
const MaxClients = 64

// poolFresh is how long a client is used before its access is read again: a
// change of address or password is obeyed within that time, in every process,
// without anybody having to be told.
const poolFresh = time.Second

// ErrUnknownCluster is a name that Access does not know.
var ErrUnknownCluster = errors.New("unknown cluster")

// Access tells how a cluster is reached, and a number that grows when that
// changes. ErrUnknownCluster, in words, when the name is not registered.
type Access func(ctx context.Context, cluster string) (Config, int64, error)

// Pool holds a client for each named cluster: made when it is first asked for,
// made anew when its access has changed, closed when the cluster is gone. It is
// safe for concurrent use and has no goroutines.
type Pool struct {
	home    *Client // of upgrader.DefaultCluster
	access  Access
	now     func() time.Time
	mu      sync.Mutex
	clients map[string]*pooled
}

type pooled struct {
	client   *Client
	revision int64
	read     time.Time
}

var _ upgrader.Engines = (*Pool)(nil)

// NewPool returns a pool that answers with home for the default cluster.
func NewPool(home *Client, access Access) *Pool {
	return &Pool{home: home, access: access, now: time.Now, clients: map[string]*pooled{}}
}

// For implements upgrader.Engines.
func (p *Pool) For(ctx context.Context, cluster string) (upgrader.Engine, error) {
	c, err := p.Client(ctx, cluster)
	if err != nil {
		return nil, err // a nil client must not become an engine that is not nil
	}
	return c, nil
}

// Client returns the client of a cluster, "" being the default one. While the
// access cannot be read, a client that was made before is used on.
func (p *Pool) Client(ctx context.Context, cluster string) (*Client, error) {
	if cluster == "" || cluster == upgrader.DefaultCluster {
		return p.home, nil
	}
	if c := p.known(cluster, poolFresh); c != nil {
		return c, nil
	}
	cfg, revision, err := p.access(ctx, cluster)
	switch {
	case errors.Is(err, ErrUnknownCluster):
		p.forget(cluster)
		return nil, err
	case err != nil:
		if c := p.known(cluster, 0); c != nil {
			return c, nil
		}
		return nil, err
	}
	return p.put(ctx, cluster, cfg, revision)
}

// known returns the client that stands, when its access was read within fresh;
// 0 for whenever.
func (p *Pool) known(cluster string, fresh time.Duration) *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.clients[cluster]; e != nil && (fresh == 0 || p.now().Sub(e.read) < fresh) {
		return e.client
	}
	return nil
}

// put keeps the client that stands when its access is the same, and replaces
// it otherwise. Calls in flight end by the old one.
func (p *Pool) put(ctx context.Context, cluster string, cfg Config, revision int64) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.clients[cluster]
	if e != nil && e.revision >= revision {
		e.read = p.now()
		return e.client, nil
	}
	fresh, err := New(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", cluster, err)
	}
	if e != nil {
		e.client.Close()
	} else if len(p.clients) >= MaxClients {
		p.dropOldest()
	}
	p.clients[cluster] = &pooled{fresh, revision, p.now()}
	return fresh, nil
}

// dropOldest makes room; whoever uses the client goes on with it.
func (p *Pool) dropOldest() {
	oldest := ""
	for name, e := range p.clients {
		if oldest == "" || e.read.Before(p.clients[oldest].read) {
			oldest = name
		}
	}
	p.clients[oldest].client.Close()
	delete(p.clients, oldest)
}

func (p *Pool) forget(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.clients[cluster]; e != nil {
		e.client.Close()
		delete(p.clients, cluster)
	}
}

// Close closes all clients but home, which is the caller's.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, e := range p.clients {
		e.client.Close()
		delete(p.clients, name)
	}
}
