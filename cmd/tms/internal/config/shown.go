package config

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// masked stands for a secret that is set.
const masked = "(set)"

// Shown is an effective setting, fit to be shown to anybody.
type Shown struct {
	Env    string `json:"env"`
	Flag   string `json:"flag"`
	Value  string `json:"value"`
	Source Source `json:"source"`
	Secret bool   `json:"secret"`
	Help   string `json:"help"`
}

// Show lists the loaded settings with secrets masked. flags and env are those
// of Load.
func Show(settings any, flags *pflag.FlagSet, env Lookup) []Shown {
	var all []Shown
	for _, f := range fields(settings) {
		_, source, _ := f.find(flags, env) // Load has reported the error
		all = append(all, Shown{Env: f.env, Flag: f.flag, Value: f.shown(), Source: source, Secret: f.mask != "", Help: f.help})
	}
	return all
}

func (f field) shown() string {
	var parts []string
	if f.value.Kind() == reflect.Slice {
		for i := range f.value.Len() {
			parts = append(parts, f.maskOne(fmt.Sprint(f.value.Index(i).Interface())))
		}
		return strings.Join(parts, ",")
	}
	return f.maskOne(fmt.Sprint(f.value.Interface()))
}

func (f field) maskOne(text string) string {
	if f.mask == "" || text == "" {
		return text
	}
	if f.mask == "url" {
		return MaskURL(text)
	}
	return masked
}

// harmless are parameters of a Postgres URL that hold no secret.
var harmless = []string{"host", "port", "sslmode", "application_name", "connect_timeout"}

// MaskURL keeps what says where, and hides the rest: the password, and the
// parameters, which may hold one too.
func MaskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return masked
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(harmless, name) {
			query.Set(name, "xxxxx")
		}
	}
	u.RawQuery, u.Fragment = query.Encode(), ""
	return u.Redacted()
}
