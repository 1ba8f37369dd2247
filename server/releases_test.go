package server_test

import (
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/tracardi/tms/db"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// nextRelease is a bundle that follows the newest built-in release and has one
// resource.
func nextRelease(t *testing.T, version, refresh string) []byte {
	t.Helper()
	builtin, err := releases.Builtin()
	require.NoError(t, err)
	newest := builtin.List()[len(builtin.List())-1]
	gone := ""
	for _, r := range newest.Resources {
		if !r.Static && r.Key != "user" {
			gone += "  " + r.Key + ": not in this one\n"
		}
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	packed, err := releases.Pack(fstest.MapFS{
		version + "/release.yaml":                file("version: " + version + "\nprefix: \"083\"\nprevious: " + newest.Version + "\nresources:\n  user: {base: tracardi-user, settings: {refresh_interval: " + refresh + "}}\n"),
		version + "/mappings/tracardi-user.yaml": file("dynamic: \"false\"\n_meta: {version: \"083\", name: abcde}\nproperties: {id: {type: keyword}}\n"),
		version + "/migration.yaml":              file("from: " + newest.Version + "\nto: " + version + "\nunchanged: [user]\ngone:\n" + gone),
	}, version)
	require.NoError(t, err)
	return packed
}

// What one process has saved, every other one knows at once.
func TestSaveRelease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := releases.OpenLibrary(t.Context(), db.NewReleases(b.db), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = other.Catalogue().Get("0.8.3")
	require.Error(t, err)

	saved, err := b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: nextRelease(t, "0.8.3", "3s"), Origin: "test"})
	require.NoError(t, err)
	require.Equal(t, "0.8.3", saved.GetVersion())
	found, err := other.Catalogue().Get("0.8.3.7")
	require.NoError(t, err)
	require.Equal(t, saved.GetDigest(), found.Digest)
	byPrefix, err := other.Catalogue().ByPrefix("083")
	require.NoError(t, err)
	require.Equal(t, "0.8.3", byPrefix.Version)
	path, err := other.Catalogue().Path("0.8.1", "0.8.3")
	require.NoError(t, err)
	require.Len(t, path, 2)

	again, err := b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: nextRelease(t, "0.8.3", "3s")})
	require.NoError(t, err)
	require.Equal(t, saved.GetDigest(), again.GetDigest())
	_, err = b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: nextRelease(t, "0.8.3", "4s")})
	refused(t, err, codes.AlreadyExists, "RELEASE_EXISTS")
	_, err = b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: nextRelease(t, "0.8.4", "3s")})
	refused(t, err, codes.FailedPrecondition, "RELEASE_REFUSED") // 0.8.3 follows 0.8.2 already
	_, err = b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: []byte("no zip")})
	refused(t, err, codes.FailedPrecondition, "RELEASE_REFUSED")
}
