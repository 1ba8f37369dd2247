package service

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// look is one outcome, so many seconds after the first, and what is made of it.
type look struct {
	at    float64
	err   error
	there bool
}

func TestPresence(t *testing.T) {
	t.Parallel()
	late := fmt.Errorf("ping: %w", context.DeadlineExceeded)
	closed := fmt.Errorf("ping: %w", syscall.ECONNREFUSED)
	for name, looks := range map[string][]look{
		"answers":                        {{0, nil, true}, {1, nil, true}},
		"has never answered":             {{0, late, false}, {1, late, false}, {2, nil, true}},
		"one deadline is missed":         {{0, nil, true}, {1, late, true}, {2, nil, true}},
		"the time counts anew":           {{0, nil, true}, {1, late, true}, {10, late, true}, {10.5, nil, true}, {12, late, true}, {21, late, true}},
		"silent for too long":            {{0, nil, true}, {1, late, true}, {10.9, errSilent, true}, {11, late, false}, {12, nil, true}},
		"asked rarely":                   {{0, nil, true}, {60, late, true}, {120, late, false}},
		"refuses":                        {{0, nil, true}, {1, closed, false}, {2, nil, true}},
		"refuses, then says nothing":     {{0, nil, true}, {1, closed, false}, {2, late, false}},
		"refuses, and the deadline ends": {{0, nil, true}, {1, errors.Join(closed, late), false}},
		"another schema":                 {{0, nil, true}, {1, errors.New("schema version 3"), false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p presence
			start := time.Unix(1_700_000_000, 0)
			for i, l := range looks {
				err := p.judge(l.err, start.Add(time.Duration(l.at*float64(time.Second))))
				require.Equal(t, l.there, err == nil, "look %d: %v", i, err)
			}
		})
	}
}
