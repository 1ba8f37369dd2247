package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bundle of one's own is written, saved and known; another one of the same
// version is refused.
func TestReleaseSave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	made := run(t, b.client, "release", "new", "0.8.3", "--prefix", "083", "--dir", dir)
	require.Zero(t, made.code, made.err)
	bundle := filepath.Join(dir, "0.8.3")
	for range 2 {
		saved := run(t, b.client, "release", "save", bundle)
		require.Zero(t, saved.code, saved.err)
	}
	shown := run(t, b.client, "release", "show", "0.8.3")
	require.Zero(t, shown.code, shown.err)
	require.NoError(t, os.WriteFile(filepath.Join(bundle, "NOTES"), []byte("changed"), 0o600))
	other := run(t, b.client, "release", "save", bundle)
	require.Equal(t, 3, other.code, other.err)
	require.Contains(t, other.err, "other content")
}
