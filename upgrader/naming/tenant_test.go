package naming

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNaming(t *testing.T) {
	t.Parallel()
	plain, adopted := Tenant{ID: "acme"}, Tenant{ID: "acme", AdoptedFrom: "074.my-code"}
	require.Equal(t, "acme", plain.In("074"))
	require.Equal(t, "my-code", adopted.In("074"))
	require.Equal(t, "acme", adopted.In("080"))
	require.Equal(t, []string{"acme"}, plain.Names())
	require.Equal(t, []string{"acme", "my-code"}, adopted.Names())
	require.Equal(t, []string{"074.my-code.*", "prod-074.my-code.*"}, adopted.Patterns("074", Staging, Production))
	require.Equal(t, []string{"080.acme.*"}, adopted.Patterns("080", Staging))
	require.Equal(t, []string{"acme.*", "prod-acme.*", "static-acme.*", "my-code.*", "prod-my-code.*", "static-my-code.*"}, adopted.AliasPatterns())
	for name, own := range map[string]bool{
		"074.my-code.tracardi-event-2023-1": true, "prod-074.my-code.tracardi-rule": true, "080.acme.tracardi-rule": true,
		"074.acme.tracardi-rule": false, "080.my-code.tracardi-rule": false, "074.my-code2.tracardi-rule": false,
	} {
		n, ok := Parse(name)
		require.True(t, ok, name)
		require.Equal(t, own, adopted.Owns(n), name)
	}
}
