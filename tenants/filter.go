package tenants

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a filter's text.
const (
	MaxFilterLength = 1024
	maxFilterTerms  = 32
)

// Filter selects tenants; all given conditions must hold.
type Filter struct {
	State       State // "" for all but deleted and purged
	ShowDeleted bool  // with State "": deleted ones too
	Release     string
	Cluster     string
	Labels      map[string]string
	IDs         []string // only these; nil for all
	Order       Order
	// AfterKey and AfterID are where the page before ended: the value of the
	// order's field, as OrderKey gives it, and the id.
	AfterKey string
	AfterID  string
	Limit    int       // 0 for no limit
	Count    bool      // also count all tenants that match, which costs more the more there are
	Now      time.Time // at which states are computed
}

// Matches says whether a tenant meets the conditions at a point in time, as
// the store does for lists.
func (f *Filter) Matches(t *Tenant, now time.Time) bool {
	st := t.StateAt(now)
	switch {
	case f.State != "" && st != f.State,
		f.State == "" && st == StatePurged,
		f.State == "" && st == StateDeleted && !f.ShowDeleted,
		f.Release != "" && t.Release != f.Release,
		f.Cluster != "" && t.Cluster != f.Cluster,
		f.IDs != nil && !slices.Contains(f.IDs, t.ID):
		return false
	}
	for name, value := range f.Labels {
		if had, ok := t.Labels[name]; !ok || had != value {
			return false
		}
	}
	return true
}

// Order is by a field and then by id, in the same direction. The zero Order
// is by id.
type Order struct {
	Field      string // one of OrderFields, "" for id
	Descending bool
}

// OrderFields are what tenants can be ordered by. All are set in every tenant.
var OrderFields = []string{"id", "create_time", "update_time", "display_name", "release"}

// ByID says whether the order needs no other field.
func (o Order) ByID() bool { return o.Field == "" || o.Field == "id" }

// OrderKey is the value of a tenant's field in an order, as text.
func (o Order) OrderKey(t *Tenant) string {
	switch o.Field {
	case "create_time":
		return t.CreatedAt.UTC().Format(time.RFC3339Nano)
	case "update_time":
		return t.UpdatedAt.UTC().Format(time.RFC3339Nano)
	case "display_name":
		return t.DisplayName
	case "release":
		return t.Release
	}
	return ""
}

// ParseOrder reads an order such as "create_time desc" (AIP-132); "" is by id.
func ParseOrder(text string) (Order, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return Order{}, nil
	}
	o := Order{Field: words[0]}
	good := slices.Contains(OrderFields, o.Field)
	switch {
	case len(words) == 2 && words[1] == "desc":
		o.Descending = true
	case len(words) == 2 && words[1] == "asc":
	case len(words) > 1:
		good = false
	}
	if !good {
		return Order{}, invalid("order_by", fmt.Sprintf("%q is not an order", short(text)), "write one of "+strings.Join(OrderFields, ", ")+", with desc behind it to turn it round")
	}
	return o, nil
}

// Parse adds the conditions of a filter's text to f:
//
//	state:active label.tier:gold release:0.8.1
//
// Terms are separated by blanks and must all hold; a value with blanks stands
// in double quotes. A condition that f has already with another value is
// refused, because no tenant could meet both.
func (f *Filter) Parse(text string) error {
	if len(text) > MaxFilterLength {
		return badFilter(fmt.Sprintf("has %d bytes, at most %d are allowed", len(text), MaxFilterLength))
	}
	for n := 0; ; n++ {
		text = strings.TrimLeft(text, " \t")
		if text == "" {
			return nil
		}
		if n == maxFilterTerms {
			return badFilter(fmt.Sprintf("has more than %d terms", maxFilterTerms))
		}
		key, rest, ok := strings.Cut(text, ":")
		if !ok || key == "" || strings.ContainsAny(key, " \t\"") {
			return badFilter(fmt.Sprintf("%q is not a term", short(firstWord(text))))
		}
		value, after, err := filterValue(rest)
		if err != nil {
			return err
		}
		if err := f.add(key, value); err != nil {
			return err
		}
		text = after
	}
}

func firstWord(text string) string {
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i]
	}
	return text
}

// filterValue takes a value, quoted or not, from the beginning of text.
func filterValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value = firstWord(text)
		if value == "" || strings.Contains(value, `"`) {
			return "", "", badFilter(fmt.Sprintf("%q is not a value", short(value)))
		}
		return value, text[len(value):], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c != '"':
			b.WriteByte(c)
		case i+1 < len(text) && text[i+1] != ' ' && text[i+1] != '\t':
			return "", "", badFilter("a quoted value ends in the middle of a term")
		default:
			return b.String(), text[i+1:], nil
		}
	}
	return "", "", badFilter("a quoted value has no end")
}

func (f *Filter) add(key, value string) error {
	set := func(field *string) error {
		if *field != "" && *field != value {
			return badFilter(fmt.Sprintf("%s is asked to be %q and %q", key, short(*field), short(value)))
		}
		*field = value
		return nil
	}
	switch {
	case key == "state":
		if !slices.Contains(States, State(value)) {
			return badFilter(fmt.Sprintf("state %q does not exist", short(value)))
		}
		return set((*string)(&f.State))
	case key == "release":
		return set(&f.Release)
	case key == "cluster":
		return set(&f.Cluster)
	case strings.HasPrefix(key, "label."):
		name := strings.TrimPrefix(key, "label.")
		had, twice := f.Labels[name]
		if twice && had != value {
			return badFilter(fmt.Sprintf("%s is asked to be %q and %q", short(key), short(had), short(value)))
		}
		labels := map[string]string{name: value}
		for k, v := range f.Labels { // the caller's map stays as it is
			labels[k] = v
		}
		f.Labels = labels
		return nil
	}
	return badFilter(fmt.Sprintf("%q cannot be filtered by", short(key)))
}

func badFilter(message string) error {
	return invalid("filter", message, `write terms such as state:active release:0.8.1 cluster:default label.tier:gold label.name:"two words"`)
}
