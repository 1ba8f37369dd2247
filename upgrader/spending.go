package upgrader

import (
	"context"
	"errors"

	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/stream"
)

// spending is a tenant's use of its cluster's budget. The zero value is not
// limited.
type spending struct {
	account *budget.Account
	reader  budget.Reader
	// urgent says that somebody's writes are refused: such work waits for no
	// budget. Set before the engine is used.
	urgent func() bool
}

func (s *spending) hurries() bool { return s.urgent != nil && s.urgent() }

// turn waits until one more update of the cluster's state may be under way.
func (s *spending) turn(ctx context.Context) (func(), error) {
	if s.account == nil || s.hurries() {
		return func() {}, nil
	}
	return s.account.TakeUpdate(ctx)
}

// count accounts for documents that were read.
func (s *spending) count(ctx context.Context, n int) error {
	if s.account == nil || s.hurries() {
		return nil
	}
	err := s.account.Read(ctx, &s.reader, n)
	if errors.Is(err, budget.ErrStopped) {
		return errSteered
	}
	return err
}

// Page reads at the pace that the cluster's budget allows.
func (e *leasedEngine) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	docs, err := e.Engine.Page(ctx, p)
	if err != nil || p.IDsOnly {
		return docs, err
	}
	return docs, e.count(ctx, len(docs))
}

// Fetch reads at the pace that the cluster's budget allows.
func (e *leasedEngine) Fetch(ctx context.Context, shard, most int, indices ...string) ([]stream.Doc, bool, error) {
	docs, whole, err := e.Engine.Fetch(ctx, shard, most, indices...)
	if err != nil {
		return docs, whole, err
	}
	return docs, whole, e.count(ctx, len(docs))
}

// VitalsOf has a budget's steward look at clusters.
func VitalsOf(engines Engines) budget.Clusters {
	return func(ctx context.Context, name string) (budget.VitalsSource, error) {
		engine, err := engines.For(ctx, name)
		if err != nil {
			return nil, err
		}
		source, ok := engine.(budget.VitalsSource)
		if !ok {
			return nil, nil //nolint:nilnil // none is a value
		}
		return source, nil
	}
}
