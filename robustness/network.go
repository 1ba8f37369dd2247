package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// link is the network between one TMS process and its servers: to each engine
// node through an interceptor and a toxic proxy, to Postgres through another
// one.
type link struct {
	nodes    []*toxiproxy.Proxy
	postgres *toxiproxy.Proxy
	ways     []*interceptor
}

// newLink opens the way to the nodes and to the database.
func newLink(nodeURLs []string, databaseURL string) (*link, error) {
	l := &link{}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	for i, node := range nodeURLs {
		p := toxiproxy.NewProxy(server, fmt.Sprint("node-", i+1), "127.0.0.1:0", strings.TrimPrefix(node, "http://"))
		if err := p.Start(); err != nil {
			return nil, errors.Join(fmt.Errorf("proxy to the engine: %w", err), l.close())
		}
		l.nodes = append(l.nodes, p)
		way, err := newInterceptor("http://" + p.Listen)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.ways = append(l.ways, way)
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database URL: %w", err), l.close())
	}
	l.postgres = toxiproxy.NewProxy(server, "postgres", "127.0.0.1:0", u.Host)
	if err := l.postgres.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("proxy to Postgres: %w", err), l.close())
	}
	return l, nil
}

// engineURLs are the addresses that the process is given.
func (l *link) engineURLs() []string {
	urls := make([]string, len(l.ways))
	for i, w := range l.ways {
		urls[i] = w.url()
	}
	return urls
}

// databaseURL is the direct one with the proxy's address in it.
func (l *link) databaseURL(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return direct
	}
	u.Host = l.postgres.Listen
	return u.String()
}

func (l *link) close() error {
	var failures []error
	for _, w := range l.ways {
		failures = append(failures, w.close())
	}
	for _, p := range append(l.nodes, l.postgres) {
		if p != nil {
			p.Stop()
		}
	}
	return errors.Join(failures...)
}

// toxic is one of toxiproxy's ways to spoil a connection.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Attributes map[string]any `json:"attributes"`
}

// poison adds a toxic to proxies and returns what removes it.
func poison(proxies []*toxiproxy.Proxy, t toxic) (heal func(context.Context) error, err error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	remove := func(ctx context.Context) error {
		var failures []error
		for _, p := range proxies {
			if p.Toxics.GetToxic(t.Name) != nil {
				failures = append(failures, p.Toxics.RemoveToxic(ctx, t.Name))
			}
		}
		return errors.Join(failures...)
	}
	for _, p := range proxies {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(string(body))); err != nil {
			return nil, errors.Join(err, remove(context.Background()))
		}
	}
	return remove, nil
}

// cut breaks connections in one of three ways, as draw says.
func cut(proxies []*toxiproxy.Proxy, draw uint64) (heal func(context.Context) error, err error) {
	switch draw % 3 {
	case 0: // refused, as with a firewall that answers
		for _, p := range proxies {
			p.Stop()
		}
		return func(context.Context) error {
			var failures []error
			for _, p := range proxies {
				failures = append(failures, p.Start())
			}
			return errors.Join(failures...)
		}, nil
	case 1: // reset in the middle
		return poison(proxies, toxic{"reset", "reset_peer", "downstream", map[string]any{"timeout": 5}})
	default: // swallowed: no answer, no end
		return poison(proxies, toxic{"swallow", "timeout", "downstream", map[string]any{"timeout": 0}})
	}
}

func cutEngine(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return cut(s.processes[k.Target].link.nodes, k.Draw)
}

func cutPostgres(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return cut([]*toxiproxy.Proxy{s.processes[k.Target].link.postgres}, k.Draw)
}

func slowEngine(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return poison(s.processes[k.Target].link.nodes, toxic{"slow", "latency", "downstream", map[string]any{"latency": k.Draw % 500, "jitter": k.Draw % 500}})
}

func slowPostgres(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return poison([]*toxiproxy.Proxy{s.processes[k.Target].link.postgres}, toxic{"slow", "latency", "downstream", map[string]any{"latency": k.Draw % 250, "jitter": k.Draw % 250}})
}
