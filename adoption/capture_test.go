package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
)

// What an installer has made is captured as the release that it belongs to,
// and becomes a bundle that the loader takes.
func TestCaptureRelease(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	builtin, err := releases.Builtin()
	require.NoError(t, err)
	one, err := fleet.New(fleet.Config{URL: devtest.Engine(t), Catalogue: builtin, Release: "0.8.2", Tenant: devtest.Prefix(t), Seed: 1, Only: resources})
	require.NoError(t, err)
	require.NoError(t, one.Install(t.Context()))

	got, err := adoption.CaptureRelease(t.Context(), p.engine, builtin.List(), one.Name(), "0.8.2", "0820")
	require.NoError(t, err)
	require.Empty(t, got.Notes)
	require.Equal(t, "0.8.1", got.Draft.Previous.Version)
	want, err := builtin.Restrict(resources...).Get("0.8.2")
	require.NoError(t, err)
	have := &releases.Release{Version: "0.8.2", Resources: got.Draft.Resources}
	require.Empty(t, releases.DiffLayout(want, have))
	files, err := got.Draft.Files()
	require.NoError(t, err)
	version, _, err := releases.Identify(files)
	require.NoError(t, err)
	require.Equal(t, "0.8.2", version)

	_, err = adoption.CaptureRelease(t.Context(), p.engine, builtin.List(), "nobody", "0.8.2", "0820")
	require.ErrorContains(t, err, "has no index of 0820")
}
