package server_test

import (
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
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

	// It comes out as it went in; so does one that is built in.
	for version, digest := range map[string]string{"0.8.3": saved.GetDigest(), "0.8.1.3": ""} {
		out, err := b.releases.Export(b.admin(), &tmsv1.ExportReleaseRequest{Version: version})
		require.NoError(t, err)
		files, err := releases.Unpack(out.GetBundle())
		require.NoError(t, err)
		named, sum, err := releases.Identify(files)
		require.NoError(t, err)
		require.Equal(t, out.GetVersion(), named)
		require.Equal(t, out.GetDigest(), sum)
		require.Contains(t, sum, digest)
	}
	_, err = b.releases.Export(b.admin(), &tmsv1.ExportReleaseRequest{Version: "0.9.9"})
	refused(t, err, codes.NotFound, "UNKNOWN_RELEASE")

	// What is used stays, what is not goes, for every process.
	remove := func(version string) error {
		_, err := b.releases.Remove(b.admin(), &tmsv1.RemoveReleaseRequest{Version: version})
		return err
	}
	refused(t, remove("0.8.2"), codes.FailedPrecondition, "RELEASE_IN_USE")
	refused(t, remove("9.9.9"), codes.NotFound, "UNKNOWN_RELEASE")
	_, err = b.db.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ('onit', '', '0.8.3.7', 'default')`)
	require.NoError(t, err)
	refused(t, remove("0.8.3"), codes.FailedPrecondition, "RELEASE_IN_USE")
	_, err = b.db.Pool().Exec(t.Context(), `update tenants set release = '0.8.2' where id = 'onit'`)
	require.NoError(t, err)
	require.NoError(t, remove("0.8.3"))
	require.NoError(t, other.Refresh(t.Context()))
	_, err = other.Catalogue().Get("0.8.3")
	require.Error(t, err)
	var actions []string
	rows, err := b.db.Pool().Query(t.Context(), `select action from audit where subject = 'release/0.8.3' order by id`)
	require.NoError(t, err)
	actions, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"release.save", "release.remove"}, actions)
	_, err = b.releases.Save(b.admin(), &tmsv1.SaveReleaseRequest{Bundle: nextRelease(t, "0.8.3", "4s")})
	require.NoError(t, err, "nobody has used it: it may come back as another one")
}
