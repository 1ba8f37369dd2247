package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// interceptor is an HTTP proxy before an engine node that a round can tell to
// answer instead of the engine, or to hold changes back. Safe for concurrent
// use.
type interceptor struct {
	listener net.Listener
	server   *http.Server
	forward  *httputil.ReverseProxy
	upstream *url.URL
	client   *http.Client
	calls    atomic.Uint64

	mu    sync.Mutex
	burst *burst
	hold  *hold
	late  sync.WaitGroup // held changes on their way
}

// burst answers every third call itself.
type burst struct {
	status int
	// done has every other one of them carried out all the same: the answer
	// of a proxy that gave up waiting.
	done bool
}

// hold keeps changes back, whether their caller still waits or not.
type hold struct {
	until time.Time
	left  int           // how many more are held
	first chan struct{} // closed when one is held
	names []string      // what was held
}

func newInterceptor(upstream string) (*interceptor, error) {
	u, err := url.Parse(upstream)
	if err != nil {
		return nil, fmt.Errorf("interceptor: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("interceptor: %w", err)
	}
	i := &interceptor{listener: l, upstream: u}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	i.client = &http.Client{Transport: transport, Timeout: time.Minute}
	i.forward = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: transport,
		// The caller must see a broken connection, not an answer of ours.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	i.server = &http.Server{Handler: i, ReadHeaderTimeout: time.Minute}
	go func() { _ = i.server.Serve(l) }() // ends with close
	return i, nil
}

func (i *interceptor) url() string { return "http://" + i.listener.Addr().String() }

// close ends it and waits for what is held.
func (i *interceptor) close() error {
	err := i.server.Close()
	i.late.Wait()
	i.client.CloseIdleConnections()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeHTTP implements http.Handler.
func (i *interceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	burst, held := i.burst, i.hold
	if held != nil && (held.left == 0 || !isChange(r)) {
		held = nil
	}
	if held != nil {
		i.late.Add(1)
		held.left--
		if held.names = append(held.names, r.Method+" "+r.URL.Path); len(held.names) == 1 {
			close(held.first)
		}
	}
	i.mu.Unlock()
	switch n := i.calls.Add(1); {
	case held != nil:
		i.deliverLate(w, r, held.until)
	case burst != nil && n%3 == 0:
		if burst.done && n%2 == 0 {
			_, _ = i.perform(r)
		}
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(burst.status)
		_, _ = io.WriteString(w, "not now\n") // a proxy's answer, no JSON
	default:
		i.forward.ServeHTTP(w, r)
	}
}

// isChange tells calls that change something from those that read.
func isChange(r *http.Request) bool {
	switch r.Method {
	case http.MethodPut, http.MethodDelete:
		return !strings.HasPrefix(r.URL.Path, "/_search")
	case http.MethodPost:
		return strings.HasSuffix(r.URL.Path, "/_bulk") || r.URL.Path == "/_aliases" || r.URL.Path == "/_reindex" || strings.HasSuffix(r.URL.Path, "/_clone")
	}
	return false
}

// deliverLate takes the whole request in, waits, and carries it out even if
// its caller is gone by then.
func (i *interceptor) deliverLate(w http.ResponseWriter, r *http.Request, at time.Time) {
	defer i.late.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the caller did not finish it
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	<-timer.C
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := i.perform(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body)
}

type answer struct {
	status int
	body   []byte
}

// perform carries a request out, whatever becomes of its caller.
func (i *interceptor) perform(r *http.Request) (answer, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, err
	}
	u := *r.URL
	u.Scheme, u.Host = i.upstream.Scheme, i.upstream.Host
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = r.Header.Clone()
	resp, err := i.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, got}, err
}

// holdChanges holds the next n changes back until then; first is closed when
// one is held.
func (i *interceptor) holdChanges(n int, until time.Time) *hold {
	h := &hold{until: until, left: n, first: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hold = h
	return h
}

// release ends holding; what is held already stays so. It returns what that is.
func (i *interceptor) release() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.hold == nil {
		return nil
	}
	names := i.hold.names
	i.hold = nil
	return names
}

func (i *interceptor) setBurst(b *burst) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.burst = b
}

func burstOn(s *site, k strike, b burst) (func(context.Context) error, error) {
	ways := s.processes[k.Target].link.ways
	for _, w := range ways {
		w.setBurst(&b)
	}
	return func(context.Context) error {
		for _, w := range ways {
			w.setBurst(nil)
		}
		return nil
	}, nil
}

func reject(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return burstOn(s, k, burst{status: http.StatusTooManyRequests})
}

func unavailable(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	return burstOn(s, k, burst{status: http.StatusServiceUnavailable, done: k.Draw%2 == 0})
}
