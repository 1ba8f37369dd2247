package upgrader

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type startedOnce struct {
	Store
	started *Rollout
}

func (s startedOnce) RolloutByRequest(_ context.Context, id string) (*Rollout, error) {
	if id != "q" {
		return nil, ErrNotFound
	}
	return s.started, nil
}

func TestRepeatedStart(t *testing.T) {
	t.Parallel()
	first := &Rollout{ID: "r1", ToRelease: "0.8.2", Options: Options{Tenants: []string{"a", "b"}, Snapshot: SnapshotBefore, SnapshotName: "made up", AllowQuarantine: 7}.WithDefaults()}
	s := NewService(startedOnce{started: first}, nil, nil, nil)
	same := Options{Tenants: []string{"b", "a"}, Snapshot: SnapshotBefore}
	for name, c := range map[string]struct {
		req  Request
		want *Rollout
		ok   bool
	}{
		"no id":         {Request{ToRelease: "0.8.2", Options: same}, nil, true},
		"another id":    {Request{RequestID: "p", ToRelease: "0.8.2", Options: same}, nil, true},
		"the same":      {Request{RequestID: "q", ToRelease: "0.8.2", Options: same}, first, true},
		"other release": {Request{RequestID: "q", ToRelease: "0.9", Options: same}, nil, false},
		"other tenants": {Request{RequestID: "q", ToRelease: "0.8.2", Options: Options{Tenants: []string{"a"}, Snapshot: SnapshotBefore}}, nil, false},
		"other proof":   {Request{RequestID: "q", ToRelease: "0.8.2", Options: Options{Tenants: same.Tenants, Snapshot: SnapshotBefore, Verify: VerifyCount}}, nil, false},
		"no snapshot":   {Request{RequestID: "q", ToRelease: "0.8.2", Options: Options{Tenants: same.Tenants}}, nil, false},
	} {
		got, err := s.repeated(t.Context(), c.req)
		require.Equal(t, c.want, got, name)
		if c.ok {
			require.NoError(t, err, name)
			continue
		}
		var e *ServiceError
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, ReasonRequestReused, e.Reason, name)
	}
}
