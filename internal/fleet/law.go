package fleet

import "fmt"

// law is one expectation about an upgrade that does not come from the release
// bundles: written down by hand, so that a transform which is wrong in the
// engine and in Go alike is caught as well.
type law struct {
	from     string // release that the document was written in
	to       string // release that the step leads to
	resource string
	old, now string // the value of field old stands in field now afterwards
	gone     bool   // field old is no longer there
}

var laws = []law{
	{"0.8.1", "0.8.2", "profile", "data.contact.email", "data.contact.email.main", false},
	{"0.8.1", "0.8.2", "profile", "data.contact.phone", "data.contact.phone.main", false},
	{"0.8.1", "0.8.2", "profile", "data.pii.name", "data.pii.display_name", true},
	{"0.8.1", "0.8.2", "profile", "data.pii.firstname", "data.pii.firstname", false},
	{"0.8.1", "0.8.2", "profile", "consents", "consents", false},
	{"0.8.1", "0.8.2", "event", "data.contact.email", "data.contact.email.main", false},
	{"0.8.1", "0.8.2", "event", "data.contact.phone", "data.contact.phone.main", false},
	{"0.8.1", "0.8.2", "event", "data.pii.name", "data.pii.display_name", true},
	{"0.8.1", "0.8.2", "event", "data.ec.order.income.value", "data.ec.order.income.value", false},
	{"0.8.1", "0.8.2", "event", "properties", "properties", false},
	{"0.8.0", "0.8.1", "rule", "event.type", "event_type.id", false},
	{"0.8.0", "0.8.1", "event-to-profile", "event_type", "event_type.id", false},
	{"0.8.0", "0.8.1", "event-management", "index_enabled", "enabled", true},
	{"0.8.0", "0.8.1", "profile", "pii.email", "data.contact.email", false},
	{"0.8.0", "0.8.1", "profile", "pii.telephone", "data.contact.phone", false},
	{"0.8.0", "0.8.1", "profile", "pii.birthDate", "data.pii.birthday", false},
}

// broken names the first law that a document breaks, "" when it keeps all.
// A law is about text, numbers and objects; what is null, empty or a list had
// no agreed meaning.
func broken(from string, rt route, resource string, was, now map[string]any) string {
	if len(rt.path) != 1 {
		return "" // laws are about single steps; chains are held by the transforms
	}
	to := rt.path[0].Version
	for _, l := range laws {
		if l.from != from || l.to != to || l.resource != resource {
			continue
		}
		old, ok := lookup(was, l.old)
		if _, list := old.([]any); !ok || old == nil || old == "" || list {
			continue
		}
		have, ok := lookup(now, l.now)
		if !ok || difference("", old, have) != "" {
			return fmt.Sprintf("%s was %s and must stand in %s, which is %s", l.old, brief(old), l.now, brief(have))
		}
		if _, still := lookup(now, l.old); l.gone && still {
			return fmt.Sprintf("%s must be gone, release %s does not know it", l.old, to)
		}
	}
	return ""
}
