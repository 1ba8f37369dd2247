package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/tenants"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	require.NoError(t, Default().Check())
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "something"), nil, 0o600))
	for _, row := range []struct {
		what   string
		change func(*Options)
		says   string
	}{
		{"no tenants", func(o *Options) { o.Tenants = 0 }, "--tenants 0 is outside 1..200"},
		{"too many documents", func(o *Options) { o.Docs = maxDocs + 1 }, "--docs 1000001"},
		{"no month", func(o *Options) { o.Months = 0 }, "--months 0"},
		{"negative rate", func(o *Options) { o.Rate = -1 }, "--rate -1"},
		{"unknown engine", func(o *Options) { o.Engine = "solr" }, `--engine: unknown engine "solr"`},
		{"unknown release", func(o *Options) { o.To = "7.7" }, `unknown release "7.7"`},
		{"backwards", func(o *Options) { o.From, o.To = "0.8.2", "0.8.1" }, "releases only go forward"},
		{"nothing to do", func(o *Options) { o.To = o.From }, "nothing to upgrade"},
		{"used directory", func(o *Options) { o.Dir = full }, "is not empty"},
	} {
		o := Default()
		row.change(&o)
		require.ErrorContains(t, o.Check(), row.says, row.what)
	}
	o := Default()
	o.Tenants, o.Docs = 0, -1
	err := o.Check()
	require.ErrorContains(t, err, "--tenants")
	require.ErrorContains(t, err, "--docs", "all that is wrong is said at once")
}

func TestTenantNames(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, maxTenants-1).Draw(t, "tenant")
		name := tenantName(i)
		require.NoError(t, tenants.ValidateID(name))
		if other, ok := seen[name]; ok && other != i {
			t.Fatalf("tenants %d and %d have one name, %s", i, other, name)
		}
		seen[name] = i
	})
}
