package devstack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultHeap       = "1g"
	initialHeap       = "512m"
	engineStartLimit  = 3 * time.Minute
	engineStopGrace   = 30 * time.Second
	engineKillGrace   = 10 * time.Second
	portAttempts      = 5
	defaultEngineName = "tms-dev"
)

// EngineOptions configures [StartEngine]. The zero value of every field but
// Dir is usable.
type EngineOptions struct {
	// Kind is the product and version; "" means TMS_DEV_ENGINE or the default.
	// A directory keeps the kind of its first start.
	Kind EngineKind
	// Dir holds data, configuration, logs and snapshots. Created when missing.
	Dir string
	// Nodes is the number of nodes of the cluster; 0 means 1. Each is a
	// process of its own.
	Nodes int
	// Heap is the largest heap of each node as Java writes it (-Xmx), for
	// example "768m"; "" means 1g.
	Heap string
	// HTTPPort is the port of the first node; 0 takes free ones. Ports are
	// kept over Restart.
	HTTPPort int
	// ClusterName is cluster.name; "" means tms-dev.
	ClusterName string
	// DiskWatermarks turns the disk allocation decider on. It is off by
	// default, because a developer's disk is often more than 90 % full.
	DiskWatermarks bool
	// ShortLived compiles less eagerly (the JVM's first tier only): a start
	// costs half the CPU, long work runs slower. For tests of a few seconds,
	// never for measurements.
	ShortLived bool
	// Settings are further node settings, for example
	// cluster.max_shards_per_node: "10000". They win over ours.
	Settings map[string]string
}

// Engine is a private cluster of one or more nodes. Its methods are safe for
// concurrent use.
type Engine struct {
	opts  EngineOptions
	home  installation
	lock  *dirLock
	nodes []*Node
}

// StartEngine starts a cluster in opts.Dir and returns once it answers and its
// health is at least yellow with all nodes in. The first start of a kind on a
// machine assembles it (see [Install]); after that a start takes 3 to 7
// seconds. The caller must call Stop.
func StartEngine(ctx context.Context, opts EngineOptions) (*Engine, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	home, err := install(ctx, opts.Kind)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(opts.Dir, "snapshots"), 0o755); err != nil {
		return nil, fmt.Errorf("create engine directory: %w", err)
	}
	lock, err := lockDir(ctx, opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e := &Engine{opts: opts, home: home, lock: lock}
	if err := e.start(ctx); err != nil {
		lock.unlock()
		return nil, err
	}
	return e, nil
}

func (o EngineOptions) complete() (EngineOptions, error) {
	var err error
	if o.Kind == "" {
		o.Kind, err = EngineKindFromEnv()
	} else {
		o.Kind, err = ParseEngineKind(string(o.Kind))
	}
	if err != nil {
		return o, err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, fmt.Errorf("engine directory %q: %w", o.Dir, err)
	}
	o.Nodes = max(o.Nodes, 1)
	if o.Heap == "" {
		o.Heap = defaultHeap
	}
	if !regexp.MustCompile(`^[1-9][0-9]*[mg]$`).MatchString(o.Heap) {
		return o, fmt.Errorf("engine heap %q: write it like 768m or 2g", o.Heap)
	}
	if o.ClusterName == "" {
		o.ClusterName = defaultEngineName
	}
	return o, nil
}

// start finds ports and starts all nodes; another process may take a port
// first, then the whole cluster gets new ones.
func (e *Engine) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineStartLimit)
	defer cancel()
	var err error
	for range portAttempts {
		if e.nodes, err = e.layOut(); err != nil {
			return err
		}
		if err = e.startNodes(ctx); err == nil {
			return nil
		}
		e.killNodes()
		if !errors.Is(err, errPortTaken) || e.opts.HTTPPort != 0 {
			return err
		}
	}
	return err
}

func (e *Engine) startNodes(ctx context.Context) error {
	for _, node := range e.nodes {
		if err := node.launch(); err != nil {
			return err
		}
	}
	for _, node := range e.nodes {
		if err := node.awaitReady(ctx, len(e.nodes)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) killNodes() {
	for _, node := range e.nodes {
		node.Kill()
	}
}

// layOut makes the nodes with their ports and configuration.
func (e *Engine) layOut() ([]*Node, error) {
	nodes := make([]*Node, e.opts.Nodes)
	for i := range nodes {
		http, err := freePort()
		if err != nil {
			return nil, err
		}
		if i == 0 && e.opts.HTTPPort != 0 {
			http = e.opts.HTTPPort
		}
		transport, err := freePort()
		if err != nil {
			return nil, err
		}
		name := "node-" + strconv.Itoa(i+1)
		nodes[i] = &Node{engine: e, name: name, dir: filepath.Join(e.opts.Dir, name), httpPort: http, transportPort: transport}
	}
	for _, node := range nodes {
		if err := node.configure(e.settings(node, nodes)); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

func (e *Engine) settings(node *Node, all []*Node) map[string]string {
	settings := map[string]string{
		"cluster.name": e.opts.ClusterName,
		"node.name":    node.name,
		"path.data":    filepath.Join(node.dir, "data"),
		"path.logs":    filepath.Join(node.dir, "logs"),
		"path.repo":    e.SnapshotDir(),
		"network.host": "127.0.0.1",
		"http.port":    strconv.Itoa(node.httpPort), "transport.port": strconv.Itoa(node.transportPort),
		"http.type": "netty4", "transport.type": "netty4",
		"cluster.routing.allocation.disk.threshold_enabled": strconv.FormatBool(e.opts.DiskWatermarks),
		// A small heap that is full of garbage is no reason to refuse work.
		"indices.breaker.total.use_real_memory": "false",
		// The default of 4 lets the shards of a new tenant's hundred indices
		// start four at a time; until then the first write to each hangs.
		"cluster.routing.allocation.node_initial_primaries_recoveries": "64",
	}
	if len(all) == 1 {
		settings["discovery.type"] = "single-node"
	} else {
		var seeds, names []string
		for _, other := range all {
			seeds = append(seeds, loopback(other.transportPort))
			names = append(names, other.name)
		}
		settings["discovery.seed_hosts"] = strings.Join(seeds, ",")
		masters := "cluster.initial_master_nodes"
		if e.opts.Kind == OpenSearch219 {
			masters = "cluster.initial_cluster_manager_nodes"
		}
		settings[masters] = strings.Join(names, ",")
	}
	maps.Copy(settings, e.opts.Settings)
	return settings
}

// Kind is the product and version that runs.
func (e *Engine) Kind() EngineKind { return e.opts.Kind }

// URL is the base URL of the first node, without a trailing slash.
func (e *Engine) URL() string { return e.nodes[0].URL() }

// URLs are the base URLs of all nodes.
func (e *Engine) URLs() []string {
	urls := make([]string, len(e.nodes))
	for i, node := range e.nodes {
		urls[i] = node.URL()
	}
	return urls
}

// Nodes are the nodes in order; the slice is the caller's.
func (e *Engine) Nodes() []*Node { return slices.Clone(e.nodes) }

// SnapshotDir is the directory below which a snapshot repository of type fs
// may lie (path.repo of all nodes).
func (e *Engine) SnapshotDir() string { return filepath.Join(e.opts.Dir, "snapshots") }

// Stop ends all nodes in order and releases the directory. A second call does
// nothing. It returns an error for every node that had to be killed.
func (e *Engine) Stop() error {
	failures := make([]error, len(e.nodes))
	done := make(chan struct{})
	for i, node := range e.nodes {
		go func() {
			failures[i] = node.Stop()
			done <- struct{}{}
		}()
	}
	for range e.nodes {
		<-done
	}
	e.lock.unlock()
	return errors.Join(failures...)
}
