package releases_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
)

// TestCanonicaliserLooksDeep: of nested documents, and for every operation, what
// is decoded in part comes out as if all of it had been.
func TestCanonicaliserLooksDeep(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		transform := releases.Transform{Ops: rapid.SliceOfN(rapid.Custom(genOp), 1, 8).Draw(r, "ops")}.Into(genFiling(r))
		canonical := transform.Canonicaliser()
		for _, raw := range rapid.SliceOfN(rapid.Custom(genDoc), 20, 20).Draw(r, "docs") {
			doc, err := releases.DecodeDoc(raw)
			require.NoError(t, err)
			want := transform.Apply(doc)
			got, err := canonical([]byte("before"), raw)
			if want != nil {
				require.EqualError(t, err, want.Error(), "%s\n%+v", raw, transform.Ops)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, "before"+string(releases.Canonical(nil, doc)), string(got), "%s\n%+v", raw, transform.Ops)
		}
	})
}
