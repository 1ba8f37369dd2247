package verify

import (
	"bytes"
	"cmp"
	"fmt"
	"sort"
	"strings"

	"github.com/tracardi/tms/releases"
)

// mostDiffering bounds how many fields an answer names.
const mostDiffering = 10

// DifferingFields names the fields in which two documents differ, a handful
// at most; none when they are equal in canonical form.
func DifferingFields(want, have []byte) ([]string, error) {
	a, err := releases.CanonicalJSON(nil, want)
	if err != nil {
		return nil, err
	}
	b, err := releases.CanonicalJSON(nil, have)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(a, b) {
		return nil, nil
	}
	x, err := releases.DecodeDoc(a)
	if err != nil {
		return nil, err
	}
	y, err := releases.DecodeDoc(b)
	if err != nil {
		return nil, err
	}
	var out []string
	diffValue(x, y, "", &out)
	sort.Strings(out)
	return out[:min(len(out), mostDiffering)], nil
}

func diffValue(a, b any, at string, out *[]string) {
	ma, oka := a.(map[string]any)
	mb, okb := b.(map[string]any)
	if !oka || !okb {
		if fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) {
			*out = append(*out, cmp.Or(at, "root"))
		}
		return
	}
	for k, v := range ma {
		w, ok := mb[k]
		path := strings.TrimPrefix(at+"."+k, ".")
		if !ok {
			*out = append(*out, path)
			continue
		}
		diffValue(v, w, path, out)
	}
	for k := range mb {
		if _, ok := ma[k]; !ok {
			*out = append(*out, strings.TrimPrefix(at+"."+k, "."))
		}
	}
}
