package tenants

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestValidateID(t *testing.T) {
	t.Parallel()
	for id, ok := range map[string]bool{
		"abc": true, "a1b": true, "1ab": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, "123": false, "Acme": false, "a-b": false, "a_b": false, "äbc": false, "a b": false,
		strings.Repeat("a", 64): false, "abc\n": false,
	} {
		require.Equal(t, ok, ValidateID(id) == nil, "%q", id)
	}
}

func valid() *Tenant { return &Tenant{ID: "acme", Release: "0.8.1", Cluster: "default"} }

func TestValidateNamesEveryField(t *testing.T) {
	t.Parallel()
	require.NoError(t, valid().Validate())
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many[strings.Repeat("x", i+1)] = ""
	}
	for name, c := range map[string]struct {
		field  string
		change func(*Tenant)
	}{
		"id":              {"id", func(x *Tenant) { x.ID = "A" }},
		"long name":       {"display_name", func(x *Tenant) { x.DisplayName = strings.Repeat("x", MaxNameLength+1) }},
		"email":           {"email", func(x *Tenant) { x.Email = "Acme <a@b.example>" }},
		"domain":          {"domain", func(x *Tenant) { x.Domain = "Acme.example" }},
		"domain with dot": {"domain", func(x *Tenant) { x.Domain = "acme..example" }},
		"gui scheme":      {"gui_url", func(x *Tenant) { x.GUIURL = "ftp://x.example" }},
		"gui credentials": {"gui_url", func(x *Tenant) { x.GUIURL = "https://u:p@x.example" }},
		"token":           {"install_token", func(x *Tenant) { x.InstallToken = strings.Repeat("x", MaxTokenLength+1) }},
		"release":         {"release", func(x *Tenant) { x.Release = "" }},
		"cluster":         {"cluster", func(x *Tenant) { x.Cluster = "a/b" }},
		"label name":      {"labels", func(x *Tenant) { x.Labels = map[string]string{"-a": ""} }},
		"label value":     {"labels", func(x *Tenant) { x.Labels = map[string]string{"a": strings.Repeat("x", MaxLabelLength+1)} }},
		"labels":          {"labels", func(x *Tenant) { x.Labels = many }},
		"attributes":      {"attributes", func(x *Tenant) { x.Attributes = json.RawMessage(`[1]`) }},
		"attributes size": {"attributes", func(x *Tenant) {
			x.Attributes = json.RawMessage(`{"a":"` + strings.Repeat("x", MaxAttributesSize) + `"}`)
		}},
	} {
		x := valid()
		c.change(x)
		var e *Error
		require.ErrorAs(t, x.Validate(), &e, name)
		require.Equal(t, CodeInvalid, e.Code, name)
		require.Equal(t, c.field, e.Field, name)
	}
	x := valid()
	x.Email, x.Domain = "nope", "No"
	var e *Error
	require.True(t, errors.As(x.Validate(), &e))
	require.Len(t, e.Violations, 2, "all wrong fields at once")
}

func TestSealer(t *testing.T) {
	t.Parallel()
	s, err := NewSealer("one")
	require.NoError(t, err)
	other, err := NewSealer("two")
	require.NoError(t, err)
	changed, err := NewSealer("three", "", "one")
	require.NoError(t, err)
	_, err = NewSealer("")
	require.ErrorContains(t, err, "SECRET")
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.String().Draw(t, "plain")
		sealed := s.Seal("acme", plain)
		got, current, err := s.Open("acme", sealed)
		if err != nil || got != plain || !current {
			t.Fatalf("got %q, %v, %v", got, current, err)
		}
		got, current, err = changed.Open("acme", sealed)
		if err != nil || got != plain || current {
			t.Fatalf("after a change of secrets: got %q, %v, %v", got, current, err)
		}
		if _, _, err := s.Open("beta", sealed); err == nil {
			t.Fatal("opens for another tenant")
		}
		if _, _, err := other.Open("acme", sealed); err == nil {
			t.Fatal("opens with another secret")
		}
		if string(s.Seal("acme", plain)) == string(sealed) {
			t.Fatal("the same text seals to the same bytes")
		}
	})
}
