package server

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"

	"github.com/tracardi/tms/tenants"
)

// tracardiBody is what programs post. Older ones send install_key and
// license_id; unknown fields are theirs to keep.
type tracardiBody struct {
	ID           *string         `json:"id"`
	Name         *string         `json:"name"`
	Email        string          `json:"email"`
	InstallToken *string         `json:"install_token"`
	InstallKey   *string         `json:"install_key"`
	LicenseID    string          `json:"license_id"`
	Expire       json.RawMessage `json:"expire"`
	Created      json.RawMessage `json:"created"` // accepted, and replaced by our own clock
	// Release is ours: what the tenant's indices are on, when not the default.
	Release string `json:"release"`
	Domain  string `json:"domain"`
	GUIURL  string `json:"gui_url"`
}

// readBody reads one JSON value and nothing after it: half of what a program
// meant to say must not become a tenant.
func readBody(r io.Reader, into *tracardiBody) error {
	raw, err := io.ReadAll(r) // bounded by the server
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// tenant reads the body; release is used when it names none.
func (b *tracardiBody) tenant(release string) (*tenants.Tenant, []bodyError) {
	var wrong []bodyError
	t := &tenants.Tenant{Email: b.Email, Release: release, Domain: b.Domain, GUIURL: b.GUIURL}
	if b.ID == nil {
		wrong = append(wrong, bodyError{Loc: []any{"body", "id"}, Msg: "field required", Type: "value_error.missing"})
	} else {
		t.ID = *b.ID
	}
	if b.Name != nil {
		t.DisplayName = *b.Name
	}
	if b.Release != "" {
		t.Release = b.Release
	}
	switch {
	case b.InstallToken != nil:
		t.InstallToken = *b.InstallToken
	case b.InstallKey != nil:
		t.InstallToken = *b.InstallKey
	}
	var ok bool
	if t.ExpiresAt, ok = looseTime(b.Expire); !ok {
		wrong = append(wrong, bodyError{Loc: []any{"body", "expire"}, Msg: "invalid datetime format", Type: "value_error.datetime"})
	}
	if _, ok = looseTime(b.Created); !ok {
		wrong = append(wrong, bodyError{Loc: []any{"body", "created"}, Msg: "invalid datetime format", Type: "value_error.datetime"})
	}
	if b.LicenseID != "" {
		t.Attributes, _ = json.Marshal(map[string]string{"license_id": b.LicenseID}) // a string: cannot fail
	}
	return t, wrong
}

// looseTime reads the forms in which Python programs write a time: ISO 8601
// with or without zone (then UTC), a date, or seconds since 1970. Nothing,
// null and "" are the zero time.
func looseTime(raw json.RawMessage) (time.Time, bool) {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
		return time.Time{}, true
	}
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil {
		// Past the year 9999 it is no time that could be written back.
		if whole, frac := math.Modf(seconds); whole >= 0 && whole < 253402300800 {
			return time.Unix(int64(whole), int64(frac*1e9)).UTC(), true
		}
		return time.Time{}, false
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			t = t.UTC() // may move it out of the years that RFC 3339 can write
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// notJSON says where a body stops being what it should be.
func notJSON(err error) bodyError {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return bodyError{Loc: []any{"body", kind.Field}, Msg: "not a valid value of type " + kind.Type.String(), Type: "type_error"}
	case errors.As(err, &syntax):
		return bodyError{Loc: []any{"body", syntax.Offset}, Msg: "not JSON", Type: "value_error.jsondecode"}
	}
	return bodyError{Loc: []any{"body"}, Msg: "a JSON object is required", Type: "value_error.jsondecode"}
}
