package tenants

import (
	"encoding/base64"
	"encoding/json"
)

// pageCursor is what a page token (AIP-158) carries: where the page before
// ended, and for which conditions the token is good.
type pageCursor struct {
	After  string `json:"a"`
	Filter string `json:"f,omitempty"`
}

func (c pageCursor) token() string {
	b, _ := json.Marshal(c) // two strings: cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// read takes the position from a token and refuses one that was made for
// other conditions.
func (c *pageCursor) read(token string) error {
	if token == "" {
		return nil
	}
	var got pageCursor
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil || got.Filter != c.Filter {
		return &Error{
			Code: CodeInvalid, Reason: ReasonInvalidPageToken, Field: "page_token", Message: "does not belong to this list", Remedy: "use next_page_token unaltered and with the same conditions", Err: err,
			Violations: []Violation{{Field: "page_token", Message: "does not belong to this list"}},
		}
	}
	c.After = got.After
	return nil
}
