package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
)

// Bounds of webhooks.
const (
	// MaxWebhooks of one TMS; each takes a delivery of its own per event.
	MaxWebhooks = 100
	// MaxTypes of one webhook.
	MaxTypes = 64
)

// Webhook is an address that events are sent to.
type Webhook struct {
	ID          string
	DisplayName string
	URL         string
	Types       []string // as in Wanted
	Secret      string   // whsec_ and base64
	// OldSecret signs, too, until OldSecretUntil.
	OldSecret      string
	OldSecretUntil time.Time
	Enabled        bool
	Reason         string // why TMS disabled it
	CreatedBy      string // key id
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Revision       int64 // grows with every change by a caller

	Position     int64 // number of the last event that was dealt with
	Pending      int64 // events behind it
	Failures     int   // attempts since the last success
	FailingSince time.Time
	LastError    string
	NextAt       time.Time
	Gap          *Gap // the last one, nil when there was none
}

// Etag identifies the stored version (AIP-154).
func (w *Webhook) Etag() string { return strconv.FormatInt(w.Revision, 36) }

// Delivery is one attempt to deliver one event.
type Delivery struct {
	ID        int64
	WebhookID string
	MessageID string
	Type      string
	Subject   string
	At        time.Time
	Attempt   int
	Status    int // of HTTP, 0 without an answer
	Took      time.Duration
	Error     string // "" when it was delivered
}

// Message is what is posted, as standardwebhooks.com has it.
type Message struct {
	URL       string
	ID        string // webhook-id
	Timestamp string // webhook-timestamp, seconds since 1970
	Signature string // webhook-signature, with spaces between several
	Body      []byte
}

// Sender posts messages.
type Sender interface {
	// Check refuses an address that can be seen to be forbidden or wrong.
	Check(url string) error
	// Send posts once and returns the status of the answer, 0 without one. An
	// error says in words for the operator why it does not count as delivered.
	Send(ctx context.Context, m Message) (status int, err error)
}

// messageOf signs an event for a webhook. The same event has the same id in
// every attempt.
func messageOf(w *Webhook, e Event, now time.Time) (Message, error) {
	body, err := json.Marshal(map[string]any{
		"type": e.Type, "timestamp": e.At.UTC().Format(time.RFC3339Nano), "number": e.Number, "subject": e.Subject, "data": e.Facts(),
	})
	if err != nil {
		return Message{}, fmt.Errorf("event %d: %w", e.Number, err)
	}
	m := Message{URL: w.URL, ID: messageID(e), Timestamp: strconv.FormatInt(now.Unix(), 10), Body: body}
	if m.Signature, err = signatures(w, m, now); err != nil {
		return Message{}, err
	}
	return m, nil
}

func messageID(e Event) string {
	switch e.Type {
	case TypeTest:
		return "test_" + strings.ToLower(rand.Text()[:12])
	case TypeGap:
		return gapID(e)
	}
	return "evt_" + strconv.FormatInt(e.Number, 10)
}

// validate checks what a caller may set.
func (w *Webhook) validate(s Sender) error {
	var v []tenants.Violation
	add := func(field, message string) { v = append(v, tenants.Violation{Field: field, Message: message}) }
	if err := s.Check(w.URL); err != nil {
		add("url", err.Error())
	}
	if len(w.DisplayName) > tenants.MaxNameLength {
		add("display_name", fmt.Sprintf("has %d bytes, at most %d are allowed", len(w.DisplayName), tenants.MaxNameLength))
	}
	if len(w.Types) > MaxTypes {
		add("types", fmt.Sprintf("%d types, at most %d are allowed", len(w.Types), MaxTypes))
	}
	for _, t := range w.Types {
		if !slices.ContainsFunc(Types, func(known string) bool { return Wanted([]string{t}, known) }) {
			add("types", fmt.Sprintf("%.64q is no type of event: write one of %s, or tenant. for all", t, strings.Join(Types, ", ")))
		}
	}
	if len(v) == 0 {
		return nil
	}
	e := &tenants.Error{Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: v[0].Field, Message: v[0].Message, Violations: v}
	for _, more := range v[1:] {
		e.Message += "; " + more.Field + ": " + more.Message
	}
	return e
}

// WebhookNotFoundError is the refusal of an id that does not exist.
func WebhookNotFoundError(id string) error {
	return &tenants.Error{Code: tenants.CodeNotFound, Reason: tenants.ReasonWebhookNotFound, Field: "id", Message: fmt.Sprintf("webhook %.64q does not exist", id), Remedy: "see `tms webhook list`"}
}
