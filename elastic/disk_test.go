package elastic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// The engine of the tests watches no disk: there is a size and no limit.
func TestDisk(t *testing.T) {
	t.Parallel()
	c, err := elastic.New(t.Context(), elastic.Config{URLs: []string{devtest.Engine(t)}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	d, err := c.Disk(t.Context())
	require.NoError(t, err)
	require.Positive(t, d.Total)
	require.Positive(t, d.Used)
	require.Less(t, d.Used, d.Total)
	require.Zero(t, d.Limit)
}
