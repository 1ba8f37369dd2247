package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFewTenants: the engine on paper answers whatever a plan asks by now.
func TestFewTenants(t *testing.T) {
	t.Parallel()
	require.NoError(t, run(t.Context(), 20, 1, 5))
}
