// Package config holds the settings of tms and reads them from flags,
// environment and files. A setting is written once, as a tagged field:
//
//	Addr string `flag:"addr" env:"TMS_ADDR" default:"localhost:8384" help:"where TMS listens"`
//
// Numbers and times of 0 are refused unless the field says zero:"true".
// Fields with secret:"…" never get a flag, because a process list shows flags
// to everybody, and are masked wherever settings are shown. Every variable X
// has a sibling X_FILE that names a file with the value.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// fileSuffix makes the name of the variable that names a file.
const fileSuffix = "_FILE"

// maxFile bounds what is read from an X_FILE: a key, not a disk.
const maxFile = 64 << 10

// Lookup finds an environment variable, like os.LookupEnv.
type Lookup func(name string) (string, bool)

// Source says where a value came from.
type Source string

// Sources, the strongest first. A file counts as environment.
const (
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// field is one setting.
type field struct {
	value reflect.Value
	flag  string
	env   string
	def   string
	help  string
	mask  string // "", "all" or "url"
	zero  bool   // whether 0 is a value too
	// plain variables have no X_FILE: that name is another setting's.
	plain bool
}

// fields lists the settings of the struct that settings points to; embedded
// structs are part of it.
func fields(settings any) []field {
	return walk(reflect.ValueOf(settings).Elem())
}

func walk(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			all = append(all, walk(v.Field(i))...)
			continue
		}
		tag := f.Tag
		if tag.Get("flag") == "" && tag.Get("env") == "" {
			continue
		}
		one := field{
			value: v.Field(i), flag: tag.Get("flag"), env: tag.Get("env"),
			def: tag.Get("default"), help: tag.Get("help"), mask: tag.Get("secret"), zero: tag.Get("zero") == "true",
			plain: tag.Get("file") == "none",
		}
		if one.mask != "" && one.flag != "" {
			panic("config: secret " + f.Name + " must not have a flag") // a typing error in this package
		}
		all = append(all, one)
	}
	return all
}

// Bind registers the flags of settings, a pointer to a struct.
func Bind(flags *pflag.FlagSet, settings any) {
	for _, f := range fields(settings) {
		if f.flag == "" {
			continue
		}
		help := f.help
		if f.env != "" {
			help += " (" + f.env + ")"
		}
		if f.value.Kind() == reflect.Bool {
			flags.Bool(f.flag, f.def == "true", help)
			continue
		}
		flags.String(f.flag, f.def, help)
	}
}

// Load fills settings: a flag wins over the environment, that over the
// default. All wrong values are reported at once, by name and without the
// value where it is a secret.
func Load(settings any, flags *pflag.FlagSet, env Lookup) error {
	var wrong []error
	for _, f := range fields(settings) {
		text, _, err := f.find(flags, env)
		if err == nil {
			err = f.set(text)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// find returns the text of a setting and where it came from.
func (f field) find(flags *pflag.FlagSet, env Lookup) (string, Source, error) {
	if f.flag != "" && flags != nil {
		if given := flags.Lookup(f.flag); given != nil && given.Changed {
			return given.Value.String(), FromFlag, nil
		}
	}
	if f.env == "" {
		return f.def, FromDefault, nil
	}
	text, ok := env(f.env)
	ok = ok && text != ""
	path, fromFile := env(f.env + fileSuffix)
	switch fromFile = fromFile && path != "" && !f.plain; {
	case ok && fromFile:
		return "", "", fmt.Errorf("%s and %s are both set: keep one", f.env, f.env+fileSuffix)
	case ok:
		return text, FromEnvironment, nil
	case fromFile:
		text, err := readFile(path)
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", f.env+fileSuffix, err)
		}
		return text, FromFile, nil
	}
	return f.def, FromDefault, nil
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() > maxFile {
		return "", fmt.Errorf("%s has %d bytes, at most %d are read", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// name is what a user would change: the flag where there is one, and the
// variable.
func (f field) name() string {
	switch {
	case f.flag == "":
		return f.env
	case f.env == "":
		return "--" + f.flag
	}
	return "--" + f.flag + " (" + f.env + ")"
}

func (f field) set(text string) error {
	if u, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return f.wrong(text, err.Error())
		}
		return nil
	}
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		if strings.Contains(text, "-----BEGIN ") {
			return f.wrong("\n", "holds a PEM block, and should hold the path of a file: did you mean "+f.env+" instead of "+f.env+fileSuffix+"?")
		}
		*p = text
	case *[]string:
		*p = splitList(text)
	case *bool:
		b, err := strconv.ParseBool(orFalse(text))
		if err != nil {
			return f.wrong(text, "write true or false")
		}
		*p = b
	case *int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 || n == 0 && !f.zero {
			return f.wrong(text, "write a whole number such as 1000")
		}
		*p = int(n)
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0) || math.IsInf(n, 0) {
			return f.wrong(text, "write a number such as 1000, or 0")
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d == 0 && !f.zero {
			return f.wrong(text, "write a time span such as 30s or 2m")
		}
		*p = d
	default:
		panic(fmt.Sprintf("config: no reader for %T", p)) // a typing error in this package
	}
	return nil
}

func (f field) wrong(text, remedy string) error {
	// What has several lines is a file's content, such as a private key.
	if f.mask != "" || strings.Contains(text, "\n") {
		return fmt.Errorf("%s: %s", f.name(), remedy)
	}
	return fmt.Errorf("%s: %q: %s", f.name(), text, remedy)
}

func orFalse(s string) string {
	if s == "" {
		return "false"
	}
	return s
}

// splitList takes a comma-separated list apart; empty elements are dropped.
func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
