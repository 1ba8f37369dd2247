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
	// What lives in TMS alone is exported, and stands for a directory anywhere.
	out := filepath.Join(dir, "out")
	for _, version := range []string{"0.8.3", "0.8.2"} {
		exported := run(t, b.client, "release", "export", version, "--dir", out)
		require.Zero(t, exported.code, exported.err)
		require.FileExists(t, filepath.Join(out, version, "release.yaml"))
		again := run(t, b.client, "release", "export", version, "--dir", out)
		require.Equal(t, 1, again.code, again.err)
	}
	for _, command := range [][]string{{"validate", "0.8.3"}, {"test", "0.8.3"}, {"validate", "0.8.1"}, {"diff", "0.8.2", "0.8.3"}, {"diff", "0.8.3", filepath.Join(out, "0.8.3")}} {
		did := run(t, b.client, append([]string{"release"}, command...)...)
		require.Zero(t, did.code, "%v: %s", command, did.err)
	}
	archive := filepath.Join(dir, "release.zip")
	for _, want := range []int{0, 1} { // a file that is there is not replaced
		packed := run(t, b.client, "release", "export", "0.8.3", "--archive", archive)
		require.Equal(t, want, packed.code, packed.err)
	}
	raw, err := os.ReadFile(archive)
	require.NoError(t, err)
	piped := run(t, b.client, "release", "export", "0.8.3", "--archive", "-", "-o", "json")
	require.Equal(t, string(raw), piped.out, "nothing but the bundle")
	for _, command := range [][]string{{"save", archive}, {"validate", archive}, {"test", archive}, {"diff", archive, "0.8.3"}} {
		did := run(t, b.client, append([]string{"release"}, command...)...)
		require.Zero(t, did.code, "%v: %s", command, did.err)
	}
	broken := filepath.Join(dir, "broken.zip")
	require.NoError(t, os.WriteFile(broken, raw[:100], 0o600))
	for ref, wants := range map[string]string{broken: "not a zip file", dir: "neither a directory with a release.yaml in it nor an archive"} {
		refused := run(t, b.client, "release", "save", ref)
		require.Equal(t, 2, refused.code)
		require.Contains(t, refused.err, wants)
	}
	// Who follows a release that only TMS has needs nothing but its version.
	next := run(t, b.client, "release", "new", "0.8.4", "--prefix", "084", "--from", "0.8.3", "--dir", dir)
	require.Zero(t, next.code, next.err)
	for _, command := range []string{"validate", "save"} {
		did := run(t, b.client, "release", command, filepath.Join(dir, "0.8.4"))
		require.Zero(t, did.code, "%s: %s", command, did.err)
	}
	unknown := run(t, b.client, "release", "validate", "0.9.9")
	require.NotZero(t, unknown.code)
	require.Contains(t, unknown.err, "0.9.9")
	nowhere := run(t, b.client, "release", "test", filepath.Join(dir, "nothing"))
	require.Equal(t, 2, nowhere.code)
	require.Contains(t, nowhere.err, "with a release.yaml")

	require.NoError(t, os.WriteFile(filepath.Join(bundle, "NOTES"), []byte("changed"), 0o600))
	other := run(t, b.client, "release", "save", bundle)
	require.Equal(t, 3, other.code, other.err)
	require.Contains(t, other.err, "other content")
}
