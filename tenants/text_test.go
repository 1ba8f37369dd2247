package tenants

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidateText(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Tenant, string){
		"display_name":  func(x *Tenant, s string) { x.DisplayName = s },
		"install_token": func(x *Tenant, s string) { x.InstallToken = s },
		"release":       func(x *Tenant, s string) { x.Release = s },
		"labels":        func(x *Tenant, s string) { x.Labels = map[string]string{"a": s} },
	} {
		for _, bad := range []string{"\x00", "a\x00b", "\x1b[31m", "a\r\nb", "\x7f", "\u0085", "\xff"} {
			x := valid()
			change(x, bad)
			var e *Error
			require.ErrorAs(t, x.Validate(), &e, "%s %q", field, bad)
			require.Equal(t, field, e.Field, "%q", bad)
		}
		for _, good := range []string{"Müller & Söhne 株式会社", "a\\b", "'; drop table tenants; --", "👩‍👩‍👧"} {
			x := valid()
			change(x, good)
			require.NoError(t, x.Validate(), "%s %q", field, good)
		}
	}
	for attributes, ok := range map[string]bool{
		`{"a": "\u0000"}`: false, `{"\u0000": 1}`: false, `{"a": "\\\u0000"}`: false, "{\"a\": \"\xff\"}": false,
		`{"a": "\\u0000"}`: true, `{"a": "\u0001\n"}`: true, `{"a": "ä"}`: true,
	} {
		x := valid()
		x.Attributes = json.RawMessage(attributes)
		require.Equal(t, ok, x.Validate() == nil, attributes)
	}
}
