package upgrader_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// withMinor is the built-in catalogue and a release 0.8.2.1 with the prefix of
// 0.8.2, which knows one field more of rules and of events.
func withMinor(t *testing.T) *releases.Catalogue {
	t.Helper()
	files := fstest.MapFS{}
	var resources []string
	builtin := releases.BuiltinFS()
	require.NoError(t, fs.WalkDir(builtin, "0.8.2", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "migration.yaml") {
			return err
		}
		raw, err := fs.ReadFile(builtin, path)
		text := string(raw)
		if strings.HasSuffix(path, "tracardi-rule.yaml") || strings.HasSuffix(path, "tracardi-event.yaml") {
			text = strings.Replace(text, "\nproperties:\n", "\nproperties:\n  brand_new: {type: keyword}\n", 1)
		}
		if strings.HasSuffix(path, "release.yaml") {
			text = strings.NewReplacer("version: 0.8.2\n", "version: 0.8.2.1\n", "previous: 0.8.1\n", "previous: 0.8.2\n").Replace(text)
		}
		files[strings.Replace(path, "0.8.2/", "0.8.2.1/", 1)] = &fstest.MapFile{Data: []byte(text)}
		return err
	}))
	whole, err := releases.Builtin()
	require.NoError(t, err)
	last, err := whole.Get("0.8.2")
	require.NoError(t, err)
	for _, r := range last.Resources {
		if !r.Static {
			resources = append(resources, r.Key)
		}
	}
	files["0.8.2.1/migration.yaml"] = &fstest.MapFile{Data: []byte("from: 0.8.2\nto: 0.8.2.1\nunchanged: [" + strings.Join(resources, ", ") + "]\n")}
	c, err := releases.Load(builtin, files)
	require.NoError(t, err)
	return c.Restrict(smallRelease...)
}

// A rollout of which some tenants are on the structure already: these keep
// their indices, which are completed; the others move. Both go back.
func TestMinorUpgrade(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = withMinor(t)
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	minor, odd := b.tenant("0.8.2", 1), b.tenant("0.8.2", 1)
	require.NoError(t, minor.Fill(t.Context(), 50))
	tenants := []*fleet.Tenant{minor}
	if !testing.Short() {
		major := b.tenant("0.8.1", 1)
		require.NoError(t, major.Fill(t.Context(), 50))
		tenants = append(tenants, major)
	}
	eventTemplate := naming.IndexName{Mode: naming.Staging, Prefix: "0820", Tenant: minor.Name(), Base: "tracardi-event"}.Template()
	require.NoError(t, b.engine.DeleteTemplate(t.Context(), eventTemplate))
	b.worker(b.engine)

	// What cannot be added is refused, with resource and field.
	rule := "prod-0820." + odd.Name() + ".tracardi-rule"
	require.NoError(t, b.engine.PutMapping(t.Context(), map[string]any{"properties": map[string]any{"brand_new": map[string]any{"type": "text"}}}, rule))
	refused, err := b.service.Plan(t.Context(), upgrader.Request{ToRelease: "0.8.2.1", Options: upgrader.Options{Tenants: []string{odd.Name()}}})
	require.NoError(t, err)
	require.Len(t, refused.Refusals, 1)
	require.Equal(t, "schema_conflict", refused.Refusals[0].Code)
	require.Contains(t, refused.Refusals[0].Message, "index "+rule+" of resource rule: field brand_new: type is text, wanted keyword")

	r := b.run("0.8.2.1", upgrader.Options{}, tenants...)
	x := of(r, minor)
	require.Equal(t, upgrader.KindMinor, x.Kind())
	require.Equal(t, "schema equal", x.Proof.Verdict)
	require.Positive(t, x.Record.Minor.Indices)
	require.Contains(t, x.Record.Minor.Fields, "rule: brand_new")
	require.Contains(t, x.Record.Minor.Made, eventTemplate)
	for _, one := range tenants {
		require.Equal(t, "0.8.2.1", b.registered(one.Name()))
		b.judge(one, r, "0.8.2.1")
	}
	if len(tenants) > 1 {
		require.Equal(t, upgrader.KindMixed, r.Kind())
		require.Equal(t, upgrader.KindMajor, of(r, tenants[1]).Kind())
	}

	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Tenants: []string{minor.Name()}, Caller: "test"})
	require.NoError(t, err)
	r = b.until(r.ID, func(r *upgrader.Rollout) bool { return of(r, minor).State == upgrader.TenantRolledBack })
	require.Equal(t, "0.8.2", b.registered(minor.Name()))
	// What was added to indices stays, what was changed in templates does not.
	changed := of(r, minor).Record.Minor.Changed
	require.NotEmpty(t, changed)
	back, err := b.engine.Templates(t.Context(), changed[0])
	require.NoError(t, err)
	require.NotContains(t, back[0].Body.Mappings["properties"], "brand_new")

	// A later tag of the same structure is a minor upgrade too.
	again := b.run("0.8.2.7", upgrader.Options{}, minor)
	require.Equal(t, upgrader.KindMinor, again.Kind())
	require.Equal(t, "0.8.2.7", b.registered(minor.Name()))
	_, err = b.service.Finalize(t.Context(), upgrader.Command{RolloutID: again.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(again.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutFinalized })
	templates, err := b.engine.Templates(t.Context(), eventTemplate)
	require.NoError(t, err)
	require.Len(t, templates, 1, "nothing of it was an old version")
}

func of(r *upgrader.Rollout, one *fleet.Tenant) *upgrader.RolloutTenant {
	for i := range r.Tenants {
		if r.Tenants[i].TenantID == one.Name() {
			return &r.Tenants[i]
		}
	}
	return &upgrader.RolloutTenant{}
}
