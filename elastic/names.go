package elastic

import (
	"fmt"
	"strings"
)

// maxNamesLength bounds the names in one request line. The engines refuse a
// line over 4096 bytes (http.max_initial_line_length); the rest of the path
// and the query stay below 500.
const maxNamesLength = 3500

// chunks splits names so that each part, joined by commas, fits in a request
// line. One name always fits: the engines allow 255 bytes.
func chunks(names []string) [][]string {
	var parts [][]string
	start, length := 0, 0
	for i, n := range names {
		if length+len(n)+1 > maxNamesLength && i > start {
			parts = append(parts, names[start:i])
			start, length = i, 0
		}
		length += len(n) + 1
	}
	if start < len(names) {
		parts = append(parts, names[start:])
	}
	return parts
}

// checkNames refuses whatever is not the exact name of one index or alias, so
// that no call meant for one index can reach another.
func checkNames(op string, names ...string) error {
	for _, n := range names {
		if why := inexact(n); why != "" {
			return fmt.Errorf("%s: %q is not the exact name of an index: %s", op, n, why)
		}
	}
	return nil
}

func inexact(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it is a path"
	case strings.ContainsRune("-_+", rune(name[0])):
		return "it begins with " + name[:1]
	case len(name) > 255:
		return "it is longer than 255 bytes"
	}
	if i := strings.IndexFunc(name, forbidden); i >= 0 {
		return fmt.Sprintf("it holds %q", name[i:i+1])
	}
	if strings.ToLower(name) != name {
		return "it holds capital letters"
	}
	return ""
}

// forbidden are the characters that the engines allow in no index name, and
// the percent sign, which URLs would decode.
func forbidden(r rune) bool {
	return r <= ' ' || strings.ContainsRune(`*?,"<>|\/#:%`, r)
}

// checkPatterns refuses patterns that reach beyond what any caller can mean:
// everything, or everything but something.
func checkPatterns(op string, patterns ...string) error {
	for _, p := range patterns {
		switch {
		case p == "" || p == "_all" || p[0] == '*' || p[0] == '-':
			return fmt.Errorf("%s: pattern %q is too wide; it must begin with the fixed part of a name", op, p)
		case strings.ContainsFunc(p, func(r rune) bool { return r != '*' && forbidden(r) }):
			return fmt.Errorf("%s: pattern %q holds a character that no name has", op, p)
		}
	}
	return nil
}

// described lists names for an error's Op, the first few of many.
func described(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
