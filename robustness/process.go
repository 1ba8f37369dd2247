package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/robustness/skew"
)

// process is one tms serve with the network around it.
type process struct {
	number int
	link   *link
	clock  string // file that its clock follows, with the fault

	mu     sync.Mutex // held while it is being stopped or started
	server *child.Server
	down   bool // on purpose
}

// startAgainFor bounds how long a process is started again and again: it ends
// when Postgres does not answer for long, as it does for operators, whose
// supervisor starts it again too.
const startAgainFor = 90 * time.Second

// start runs the process until it serves.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startAgainFor)
	defer cancel()
	for {
		err := p.server.Start(ctx)
		if err == nil {
			p.down = false
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d: %w", p.number, err)
		}
	}
}

// kill ends it as a crash would.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.server.Kill()
}

// crashed says whether it ended without anybody's help.
func (p *process) crashed() bool {
	if !p.mu.TryLock() {
		return false // being started
	}
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	select {
	case <-p.server.Exited():
		return true
	default:
		return false
	}
}

func killProcess(ctx context.Context, s *site, k strike) (func(context.Context) error, error) {
	p := s.processes[k.Target]
	takeover := s.watchTakeover(ctx, p)
	p.kill()
	takeover()
	s.kills.Add(1)
	return p.start, nil
}

func stopProcess(ctx context.Context, s *site, k strike) (func(context.Context) error, error) {
	p := s.processes[k.Target]
	takeover := s.watchTakeover(ctx, p)
	if err := p.server.Pause(); err != nil {
		return nil, err
	}
	takeover()
	return func(context.Context) error { return p.server.Continue() }, nil
}

// jumpClock has a process's clock jump to and fro, for seconds or for hours.
func jumpClock(_ context.Context, s *site, k strike) (func(context.Context) error, error) {
	jumps := []time.Duration{-4 * time.Hour, -5 * time.Minute, -20 * time.Second, 20 * time.Second, 5 * time.Minute, 4 * time.Hour}
	file := s.processes[k.Target].clock
	return func(context.Context) error { return skew.Set(file, 0) }, skew.Set(file, jumps[k.Draw%uint64(len(jumps))])
}

// lateChanges freezes a process the moment that changes of it are on the way,
// and lets these arrive after it has lost its leases.
func lateChanges(ctx context.Context, s *site, k strike) (func(context.Context) error, error) {
	p := s.processes[k.Target]
	until := time.Now().Add(k.For)
	holds := make([]*hold, len(p.link.ways))
	caught := make(chan struct{}, len(p.link.ways))
	waiting, cancel := context.WithDeadline(ctx, time.Now().Add(k.For/3))
	defer cancel()
	for i, w := range p.link.ways {
		h := w.holdChanges(1+int(k.Draw%4), until)
		holds[i] = h
		go func() {
			select {
			case <-h.first:
				caught <- struct{}{}
			case <-waiting.Done():
			}
		}()
	}
	heal := func(context.Context) error {
		for _, w := range p.link.ways {
			if names := w.release(); len(names) > 0 {
				s.journal.note("held", "process", p.number, "changes", names)
			}
		}
		return p.server.Continue()
	}
	select {
	case <-caught:
		if k.Draw%5 != 0 { // more of the batch may follow the first
			sleep(ctx, time.Duration(k.Draw%50)*time.Millisecond)
		}
		takeover := s.watchTakeover(ctx, p)
		if err := p.server.Pause(); err != nil {
			return nil, errors.Join(err, heal(ctx))
		}
		takeover()
	case <-waiting.Done(): // it had nothing to change
	}
	return heal, nil
}
