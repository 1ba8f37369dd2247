package tenants

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// validateText refuses what Postgres cannot keep (NUL, broken UTF-8) and what
// would write over somebody's terminal or log (other control characters).
func (t *Tenant) validateText(v *violations) {
	for _, f := range []struct{ field, value string }{
		{"display_name", t.DisplayName}, {"email", t.Email}, {"install_token", t.InstallToken}, {"release", t.Release}, {"gui_url", t.GUIURL},
	} {
		if !isText(f.value) {
			v.add(f.field, "has control characters or is not UTF-8")
		}
	}
	for name, value := range t.Labels {
		if !isText(value) {
			v.add("labels", "value of "+short(name)+" has control characters or is not UTF-8")
			break
		}
	}
	// In JSON only NUL is a matter of the store: jsonb has no room for it. An
	// escaped backslash before "u0000" makes it plain letters.
	escapes := bytes.ReplaceAll(t.Attributes, []byte(`\\`), nil)
	if bytes.Contains(escapes, []byte(`\u0000`)) || !utf8.Valid(t.Attributes) {
		v.add("attributes", `holds \u0000 or is not UTF-8`)
	}
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
