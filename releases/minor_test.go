package releases

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// minorOf11 is a release with the prefix of 1.1 and one field more.
func minorOf11() map[string]string {
	return map[string]string{
		"1.1.5/release.yaml":           strings.NewReplacer(`version: "1.1"`, `version: "1.1.5"`, `previous: "1.0"`, `previous: "1.1"`).Replace(smallBundles["1.1/release.yaml"]),
		"1.1.5/mappings/x-person.yaml": smallBundles["1.1/mappings/x-person.yaml"] + "  late: {type: keyword}\n",
		"1.1.5/mappings/x-kept.yaml":   smallBundles["1.1/mappings/x-kept.yaml"],
		"1.1.5/mappings/x-fresh.yaml":  smallBundles["1.1/mappings/x-fresh.yaml"],
		"1.1.5/mappings/x-plugin.yaml": smallBundles["1.1/mappings/x-plugin.yaml"],
		"1.1.5/migration.yaml":         "from: \"1.1\"\nto: \"1.1.5\"\nunchanged: [person, kept, fresh]\n",
	}
}

// A minor release shares the prefix of the one before it, and takes over for
// the versions that come after it.
func TestMinorRelease(t *testing.T) {
	t.Parallel()
	c, err := Load(bundlesWith(minorOf11()))
	require.NoError(t, err)
	for version, want := range map[string]string{"1.1": "1.1", "1.1.4": "1.1", "1.1.5": "1.1.5", "1.1.6": "1.1.5", "1.1.5.2": "1.1.5"} {
		r, err := c.Get(version)
		require.NoError(t, err)
		require.Equal(t, want, r.Version, version)
	}
	first, err := c.ByPrefix("011")
	require.NoError(t, err)
	require.Equal(t, "1.1", first.Version)
	path, err := c.Path("1.1.2", "1.1.9")
	require.NoError(t, err)
	require.Len(t, path, 1)

	for name, change := range map[string]struct{ file, old, new, why string }{
		"a document changes":     {"1.1.5/migration.yaml", "unchanged: [person, kept, fresh]", "unchanged: [kept, fresh]\nsteps:\n  person:\n    transform:\n      - {op: default, field: id, value: x}", "documents of resource person would have to be changed"},
		"other partitions":       {"1.1.5/release.yaml", "partitioning: quarter", "partitioning: month", "indices of resource person have other names"},
		"prefix of an older one": {"1.1.5/release.yaml", "prefix: 011", "prefix: 010", "release 1.1 with prefix 011 lies between"},
	} {
		files := minorOf11()
		require.Contains(t, files[change.file], change.old, name)
		files[change.file] = strings.Replace(files[change.file], change.old, change.new, 1)
		_, err := Load(bundlesWith(files))
		require.ErrorContains(t, err, change.why, name)
	}
}
