package upgrader

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// Copies of one tenant run side by side, and each has something to record when
// it begins and when it ends. What comes while a record is being written is
// written together, with the next one: to Postgres a commit is what costs. And
// an older state of a move never overwrites a newer one.

// moveRecorder has moves written, one batch after the other. The zero value is
// ready; it is safe for concurrent use.
type moveRecorder struct {
	mu      sync.Mutex
	writing bool // somebody writes, or a token is in next.lead
	next    *moveBatch
}

// moveBatch is what is written together. Who has the token in lead writes it;
// err may be read when done is closed.
type moveBatch struct {
	moves map[*Move]bool
	lead  chan struct{}
	done  chan struct{}
	err   error
}

// record waits until the moves are written, as they are by then. write is called
// by one of those that wait, for all of them; when it fails, it has for all.
func (r *moveRecorder) record(ctx context.Context, moves []*Move, write func(context.Context, map[*Move]bool) error) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &moveBatch{moves: map[*Move]bool{}, lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	b := r.next
	for _, m := range moves {
		b.moves[m] = true
	}
	if !r.writing {
		r.writing = true
		b.lead <- struct{}{}
	}
	r.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx) // the token stays for the others, or whoever comes
	case <-b.lead:
	}
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	b.err = write(ctx, b.moves)
	close(b.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writing = r.next != nil; r.writing {
		r.next.lead <- struct{}{}
	}
	return b.err
}

// saveMoves stores moves; safe while copies run.
func (s *session) saveMoves(ctx context.Context, moves ...*Move) error {
	if len(moves) == 0 {
		return nil
	}
	return s.recorder.record(ctx, moves, s.writeMoves)
}

func (s *session) writeMoves(ctx context.Context, moves map[*Move]bool) error {
	s.mu.Lock()
	rows := make([]Move, 0, len(moves))
	for m := range moves {
		m.Wrote = s.wrote[m.Target]
		row := *m
		row.Copies = append([]Copy(nil), m.Copies...)
		for j := range row.Copies {
			row.Copies[j].Streamed = maps.Clone(row.Copies[j].Streamed)
		}
		rows = append(rows, row)
	}
	s.mu.Unlock()
	slices.SortFunc(rows, func(a, b Move) int { return cmp.Compare(a.Target, b.Target) })
	return s.r.store.SaveMoves(ctx, s.lease, rows...)
}
