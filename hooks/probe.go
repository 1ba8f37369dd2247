package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxProbe is how much of an answer is read.
const maxProbe = 64 << 10

// CheckAddress says what is wrong with an address.
func (s *Sender) CheckAddress(url string) error { return s.Check(url) }

// Get asks an address and returns status and the first 64 KiB of the answer.
// It goes where webhooks may go, and nowhere else. Errors hold no part of the
// address.
func (s *Sender) Get(ctx context.Context, url string) (status int, body string, err error) {
	return s.exchange(ctx, http.MethodGet, url, nil)
}

// Post sends JSON to an address, like Get.
func (s *Sender) Post(ctx context.Context, url string, message any) (status int, body string, err error) {
	raw, err := json.Marshal(message)
	if err != nil {
		return 0, "", err
	}
	return s.exchange(ctx, http.MethodPost, url, raw)
}

func (s *Sender) exchange(ctx context.Context, method, url string, message []byte) (int, string, error) {
	if err := s.Check(url); err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(message))
	if err != nil {
		return 0, "", errors.New("the address cannot be read")
	}
	req.Header.Set("User-Agent", "tms-probe")
	if message != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c := s.secure
	if req.URL.Scheme == "http" {
		c = s.plain
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", reasonOf(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxProbe))
	if err != nil {
		return 0, "", fmt.Errorf("the answer broke off: %w", reasonOf(err))
	}
	return res.StatusCode, string(answer), nil
}
