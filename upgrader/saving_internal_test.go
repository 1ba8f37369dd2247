package upgrader

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// While one record is written those that come wait, and go together.
func TestMovesAreRecordedTogether(t *testing.T) {
	t.Parallel()
	var r moveRecorder
	var mu sync.Mutex
	var batches []int
	begun, goOn := make(chan struct{}, 3), make(chan error)
	write := func(_ context.Context, moves map[*Move]bool) error {
		mu.Lock()
		batches = append(batches, len(moves))
		mu.Unlock()
		begun <- struct{}{}
		return <-goOn
	}
	var g errgroup.Group
	g.Go(func() error { return r.record(t.Context(), []*Move{{}}, write) })
	<-begun
	failing := errors.New("no")
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- r.record(t.Context(), []*Move{{}, {}}, write) }()
	}
	// One of them does not wait for it; the others are written all the same, what
	// it brought included.
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- r.record(ctx, []*Move{{}}, write) }()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.next != nil && len(r.next.moves) == 7
	}, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	goOn <- nil
	require.NoError(t, g.Wait())
	<-begun
	goOn <- failing
	for range 3 {
		require.ErrorIs(t, <-errs, failing)
	}
	require.Equal(t, []int{1, 7}, batches)
	g.Go(func() error { return r.record(t.Context(), []*Move{{}}, write) })
	<-begun
	goOn <- nil
	require.NoError(t, g.Wait())
	require.False(t, r.writing)
}

// Somebody who leaves with nobody else waiting leaves the token behind.
func TestARecordThatEverybodyLeft(t *testing.T) {
	t.Parallel()
	var r moveRecorder
	begun, goOn := make(chan struct{}, 2), make(chan error)
	write := func(context.Context, map[*Move]bool) error {
		begun <- struct{}{}
		return <-goOn
	}
	first := make(chan error)
	go func() { first <- r.record(t.Context(), []*Move{{}}, write) }()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.record(ctx, []*Move{{}}, write), context.Canceled)
	goOn <- nil
	require.NoError(t, <-first)
	next := make(chan error)
	go func() { next <- r.record(t.Context(), []*Move{{}}, write) }()
	<-begun
	goOn <- nil
	require.NoError(t, <-next)
}
