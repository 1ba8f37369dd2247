package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tracardi/tms/events"
)

// Limits of one attempt; events.SendTimeout bounds the whole of it.
const (
	dialTimeout = 5 * time.Second
	maxURL      = 2048
	maxAnswer   = 4 << 10 // bytes of an answer that are read, to use the connection again
	maxHeaders  = 16 << 10
)

// Sender is the events.Sender. It is safe for concurrent use.
type Sender struct {
	secure, plain *http.Client
	guards        map[string]guard // by scheme
}

var _ events.Sender = (*Sender)(nil)

// NewSender returns a Sender that also goes to the allowed networks; to them
// alone without TLS.
func NewSender(allowed []netip.Prefix) *Sender {
	guards := map[string]guard{"https": {allowed: allowed}, "http": {allowed: allowed, listedOnly: true}}
	return &Sender{secure: client(guards["https"]), plain: client(guards["http"]), guards: guards}
}

func client(g guard) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: g.control}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:       nil, // one from the environment would connect in our place, unguarded
			DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: events.SendTimeout,
			MaxResponseHeaderBytes: maxHeaders, MaxIdleConns: 2 * events.MaxWebhooks, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second,
			ForceAttemptHTTP2: true,
		},
		// A redirect is an answer like others, and not one of success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       events.SendTimeout,
	}
}

// Close ends idle connections.
func (s *Sender) Close() {
	s.secure.CloseIdleConnections()
	s.plain.CloseIdleConnections()
}

// Check implements events.Sender. Names are looked up when something is sent.
func (s *Sender) Check(address string) error {
	if len(address) > maxURL {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(address), maxURL)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("is not an address such as https://example.com/hook")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("scheme %.20q: write https, or http within TMS_WEBHOOK_ALLOW_NETWORKS", u.Scheme)
	case u.User != nil:
		return errors.New("holds credentials: deliveries are signed instead")
	case u.Fragment != "":
		return errors.New("has a fragment, which is never sent")
	}
	g := s.guards[u.Scheme]
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.permits(a)
	}
	if host := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return g.permits(netip.MustParseAddr("127.0.0.1"))
	}
	if g.listedOnly && len(g.allowed) == 0 {
		return errors.New("http is for networks of TMS_WEBHOOK_ALLOW_NETWORKS only, use https")
	}
	return nil
}

// Send implements events.Sender.
func (s *Sender) Send(ctx context.Context, m events.Message) (int, error) {
	if err := s.Check(m.URL); err != nil {
		return 0, err // rules may have become stricter
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return 0, errors.New("the address cannot be read")
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "tms-webhook",
		"Webhook-Id": m.ID, "Webhook-Timestamp": m.Timestamp, "Webhook-Signature": m.Signature,
	} {
		req.Header.Set(name, value)
	}
	c := s.secure
	if req.URL.Scheme == "http" {
		c = s.plain
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, reasonOf(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // what it says is nobody's business
	switch {
	case res.StatusCode < 200:
		return res.StatusCode, fmt.Errorf("answered %d", res.StatusCode)
	case res.StatusCode < 300:
		return res.StatusCode, nil
	case res.StatusCode < 400:
		return res.StatusCode, fmt.Errorf("answered %d: redirects are not followed, use the final address", res.StatusCode)
	}
	return res.StatusCode, fmt.Errorf("answered %d", res.StatusCode)
}

// reasonOf says why there was no answer, without the address: it may hold a
// secret of the receiver's.
func reasonOf(err error) error {
	var forbidden *forbiddenError
	if errors.As(err, &forbidden) {
		return forbidden
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		if outer.Timeout() {
			return fmt.Errorf("no answer within %s", events.SendTimeout)
		}
		err = outer.Err
	}
	return fmt.Errorf("no answer: %w", err)
}
