package strategy

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// Title is Name, or is made of the check's place and kind.
func (c Check) Title(i int) string {
	kind := "webhook"
	switch {
	case c.HTTP != nil:
		kind = "http"
	case c.Query != nil:
		kind = "query"
	}
	return cmp.Or(c.Name, fmt.Sprintf("%d (%s)", i+1, kind))
}

// Right says whether a status is the one that is wanted.
func (c *HTTPCheck) Right(status int) bool {
	for _, s := range c.Status {
		if s == status {
			return true
		}
	}
	return len(c.Status) == 0 && status >= 200 && status < 300
}

// Address is the URL for one tenant; a label that it does not have is an error.
func (c *HTTPCheck) Address(t Tenant) (string, error) { return addressOf(c.URL, t) }

var labelPattern = regexp.MustCompile(`\{label:([^}]*)\}`)

// addressOf fills a template in; a label that the tenant does not have is an
// error.
func addressOf(template string, t Tenant) (string, error) {
	var absent string
	url := strings.ReplaceAll(template, "{tenant}", t.ID)
	url = labelPattern.ReplaceAllStringFunc(url, func(m string) string {
		name := labelPattern.FindStringSubmatch(m)[1]
		v, ok := t.Labels[name]
		if !ok {
			absent = name
		}
		return v
	})
	if absent != "" {
		return "", fmt.Errorf("it has no label %q, which the address is made with", absent)
	}
	return url, nil
}

// Addresses lists what is wrong with the addresses of checks, which are tried
// with a tenant's name that could be.
func (s *File) Addresses(check func(string) error) (out []Problem) {
	if s == nil {
		return nil
	}
	each := func(path string, b *Between) {
		if b == nil {
			return
		}
		for i, c := range b.Checks {
			for kind, url := range map[string]string{"http": c.httpURL(), "webhook": c.webhookURL()} {
				if url == "" {
					continue
				}
				url, _ = addressOf(labelPattern.ReplaceAllString(url, "label"), Tenant{ID: "tenant"})
				if err := check(url); err != nil {
					out = append(out, Problem{Path: fmt.Sprintf("%s.checks[%d].%s.url", path, i, kind), Text: err.Error()})
				}
			}
		}
	}
	each("between", &s.Between)
	if s.Canary != nil {
		each("canary.between", s.Canary.Between)
	}
	for i := range s.Waves {
		each(fmt.Sprintf("waves[%d].between", i), s.Waves[i].Between)
	}
	return out
}

func (c Check) httpURL() string {
	if c.HTTP == nil {
		return ""
	}
	return c.HTTP.URL
}

func (c Check) webhookURL() string {
	if c.Webhook == nil {
		return ""
	}
	return c.Webhook.URL
}
