package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// reader searches one alias at a steady rate and remembers how long each
// search took. A search that is late does not delay the next one.
type reader struct {
	url, alias string
	every      time.Duration
	http       http.Client
}

// sample is what a reader has seen in one part of the run.
type sample struct {
	name     string
	searches []time.Duration // sorted
	failed   int
	took     time.Duration // of the upgrade; 0 for none
}

// during reads until f returns.
func (r *reader) during(ctx context.Context, name string, f func(context.Context) (time.Duration, error)) (sample, error) {
	s := sample{name: name}
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(r.every)
		defer tick.Stop()
		for {
			select {
			case <-rctx.Done():
				return
			case <-tick.C:
			}
			running.Go(func() {
				took, err := r.search(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					s.failed++
					return
				}
				s.searches = append(s.searches, took)
			})
		}
	})
	took, err := f(ctx)
	cancel()
	running.Wait()
	slices.Sort(s.searches)
	s.took = took
	if err == nil && len(s.searches) == 0 {
		err = fmt.Errorf("%s: no search succeeded", name)
	}
	return s, err
}

// search is a page of events, newest first, as a GUI asks for it.
func (r *reader) search(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	const query = `{"size":10,"sort":[{"metadata.time.insert":{"order":"desc","unmapped_type":"date"}}],"query":{"match_all":{}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/"+r.alias+"/_search?request_cache=false", strings.NewReader(query))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	started := time.Now()
	res, err := r.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("search: %s", res.Status)
	}
	return time.Since(started), nil
}

// add takes another part of the run in.
func (s *sample) add(o sample) {
	s.searches, s.failed = append(s.searches, o.searches...), s.failed+o.failed
	slices.Sort(s.searches)
}

// at is a quantile.
func (s sample) at(q float64) time.Duration {
	return s.searches[min(len(s.searches)-1, int(q*float64(len(s.searches))))]
}

func report(all []sample, docs int) {
	idle := all[0]
	ratio := func(d, of time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(of)) }
	fmt.Printf("\n| | p50 | × idle | p90 | × idle | p99 | × idle | searches | failed | upgrade | documents/s |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		upgrade, rate := "", ""
		if s.took > 0 {
			upgrade, rate = s.took.Round(100*time.Millisecond).String(), fmt.Sprintf("%.0f", float64(docs)/s.took.Seconds())
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %d | %d | %s | %s |\n", s.name, ms(s.at(0.5)), ratio(s.at(0.5), idle.at(0.5)),
			ms(s.at(0.9)), ratio(s.at(0.9), idle.at(0.9)), ms(s.at(0.99)), ratio(s.at(0.99), idle.at(0.99)), len(s.searches), s.failed, upgrade, rate)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
