package fleet

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
)

// Mode is the environment that an index belongs to, as the prefix that stands
// in front of its name.
type Mode string

// The modes of Tracardi. Static resources have one index for both others.
const (
	Staging    Mode = ""
	Production Mode = "prod-"
	Static     Mode = "static-"
)

// modes returns the modes in which a resource exists.
func modes(res releases.Resource) []Mode {
	if res.Static {
		return []Mode{Static}
	}
	if res.StagingOnly {
		return []Mode{Staging}
	}
	return []Mode{Staging, Production}
}

// slot is one resource in one mode: what one alias stands for.
type slot struct {
	mode Mode
	res  releases.Resource
}

func slots(resources []releases.Resource) []slot {
	var all []slot
	for _, res := range resources {
		for _, mode := range modes(res) {
			all = append(all, slot{mode, res})
		}
	}
	return all
}

func aliasName(m Mode, tenant, base string) string {
	return string(m) + tenant + "." + base
}

func indexName(m Mode, prefix, tenant, base, partition string) string {
	name := string(m) + prefix + "." + tenant + "." + base
	if partition != "" {
		name += "-" + partition
	}
	return name
}

// templateName is the name of an index template; up to 0.7.4 there was no
// version in it.
func templateName(m Mode, prefix, tenant, base string) string {
	if prefix < "080" {
		return string(m) + "template." + tenant + "." + base
	}
	return string(m) + "template." + prefix + "." + tenant + "." + base
}

// named is the tenant's name in the names of a version: the code name in that
// of the installation that it was, its id in all later ones.
func (t *Tenant) named(prefix string) string {
	if t.cfg.CodeName != "" && prefix == t.release.Prefix {
		return t.cfg.CodeName
	}
	return t.cfg.Tenant
}

// prefixOf returns the version prefix in an index name of the tenant, "" when
// the name is not one of the tenant's.
func (t *Tenant) prefixOf(index string, m Mode) string {
	for _, name := range []string{t.cfg.Tenant, t.cfg.CodeName} {
		if prefix := prefixOf(index, m, name); prefix != "" && t.named(prefix) == name {
			return prefix
		}
	}
	return ""
}

func templatePattern(m Mode, prefix, tenant, base string) string {
	return indexName(m, prefix, tenant, base, "*-*")
}

// prefixOf returns the version prefix in an index name of the tenant, "" when
// the name is not one of the tenant's.
func prefixOf(index string, m Mode, tenant string) string {
	rest, ok := strings.CutPrefix(index, string(m))
	if !ok {
		return ""
	}
	prefix, rest, ok := strings.Cut(rest, ".")
	if !ok || !strings.HasPrefix(rest, tenant+".") {
		return ""
	}
	return prefix
}

// partition names the partition that a moment belongs to. Tracardi writes
// months without zero padding.
func partition(p releases.Partitioning, at time.Time) string {
	year, month := at.Year(), int(at.Month())
	switch p {
	case releases.Monthly:
		return fmt.Sprintf("%d-%d", year, month)
	case releases.Quarterly:
		return fmt.Sprintf("%d-q%d", year, (month+2)/3)
	case releases.Yearly:
		return fmt.Sprintf("%d-year", year)
	default:
		return ""
	}
}

var partitionLabels = map[releases.Partitioning]*regexp.Regexp{
	releases.Unpartitioned: regexp.MustCompile(`^$`),
	releases.Monthly:       regexp.MustCompile(`^\d{4}-(1[0-2]|[1-9])$`),
	releases.Quarterly:     regexp.MustCompile(`^\d{4}-q[1-4]$`),
	releases.Yearly:        regexp.MustCompile(`^\d{4}-year$`),
}

// month reads a monthly partition label.
func month(label string) (time.Time, bool) {
	if !partitionLabels[releases.Monthly].MatchString(label) {
		return time.Time{}, false
	}
	y, m, _ := strings.Cut(label, "-")
	year, _ := strconv.Atoi(y)
	number, _ := strconv.Atoi(m)
	return time.Date(year, time.Month(number), 1, 0, 0, 0, 0, time.UTC), true
}

// follow names the partition of the target that the documents of a source
// partition belong to; known is false where the source does not say it (an
// unpartitioned resource that becomes partitioned).
func follow(label string, from, to releases.Partitioning) (target string, known bool) {
	switch {
	case from == to, to == releases.Unpartitioned:
		if to == releases.Unpartitioned {
			label = ""
		}
		return label, true
	case from == releases.Monthly:
		at, ok := month(label)
		return partition(to, at), ok
	case from == releases.Quarterly && to == releases.Yearly:
		year, _, _ := strings.Cut(label, "-")
		return year + "-year", true
	default:
		return "", false
	}
}

// monthsUntil returns the first days of the n months that end with now's.
func monthsUntil(now time.Time, n int) []time.Time {
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	months := make([]time.Time, n)
	for i := range months {
		months[i] = first.AddDate(0, i-n+1, 0)
	}
	return months
}

// partitions lists the labels of a resource over the tenant's months, oldest
// first and each once; an unpartitioned resource has the one label "".
func (t *Tenant) partitions(p releases.Partitioning) []string {
	var labels []string
	for _, at := range t.months {
		if label := partition(p, at); len(labels) == 0 || labels[len(labels)-1] != label {
			labels = append(labels, label)
		}
	}
	return labels
}
