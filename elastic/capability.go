package elastic

import (
	"fmt"
	"strconv"
	"strings"
)

// Products as Info names them.
const (
	Elasticsearch = "elasticsearch"
	OpenSearch    = "opensearch"
)

// Capability is what a range of versions of a product can do. What all of
// them can do is not listed: the block API and composable templates (both
// from Elasticsearch 7.9) are why the ranges begin where they do.
type Capability struct {
	Product     string
	From, Below [2]int // major, minor: From <= version < Below
	// Flattened is the mapping type for objects kept as one field, "" when
	// there is none. See flattenedUnsure.
	Flattened string
	// FlattenedUnsure: whether the type is there depends on the distribution
	// (Elasticsearch moved it from x-pack into the server), so ask.
	FlattenedUnsure bool
	// AliasMustExist: an alias removal takes "must_exist".
	AliasMustExist bool
}

// capabilities is the table of supported versions. Proven on Elasticsearch
// 7.10.2, 7.17.29 and OpenSearch 2.19.1 by the conformance suite; on
// Elasticsearch 8.19.0, 9.5.3 and OpenSearch 1.3.13 by single calls.
// flat_object came with OpenSearch 2.7.
var capabilities = []Capability{
	{Product: Elasticsearch, From: [2]int{7, 10}, Below: [2]int{7, 17}, Flattened: "flattened", FlattenedUnsure: true},
	{Product: Elasticsearch, From: [2]int{7, 17}, Below: [2]int{10, 0}, Flattened: "flattened", AliasMustExist: true},
	{Product: OpenSearch, From: [2]int{1, 0}, Below: [2]int{2, 0}},
	{Product: OpenSearch, From: [2]int{2, 0}, Below: [2]int{2, 7}},
	{Product: OpenSearch, From: [2]int{2, 7}, Below: [2]int{4, 0}, Flattened: "flat_object", AliasMustExist: true},
}

// CapabilityOf looks a version up. The error is a sentence for operators.
func CapabilityOf(product, version string) (Capability, error) {
	v, err := parseVersion(version)
	if err != nil {
		return Capability{}, err
	}
	for _, c := range capabilities {
		if c.Product == product && !less(v, c.From) && less(v, c.Below) {
			return c, nil
		}
	}
	return Capability{}, fmt.Errorf(
		"%s %s is not supported; supported are Elasticsearch 7.10 to 9 and OpenSearch 1 to 3", product, version)
}

func parseVersion(s string) ([2]int, error) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return [2]int{}, fmt.Errorf("search engine version %q is not major.minor.patch", s)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return [2]int{}, fmt.Errorf("search engine version %q is not major.minor.patch", s)
	}
	return [2]int{major, minor}, nil
}

func less(a, b [2]int) bool {
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}
