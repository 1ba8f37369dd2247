package naming

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
)

// Mode is the environment an index belongs to; its string is the prefix that
// stands in front of index, alias and template names.
type Mode string

// Modes. Static indices serve both environments.
const (
	Staging    Mode = ""
	Production Mode = "prod-"
	Static     Mode = "static-"
)

// Modes lists the environments in which non-static resources exist.
var Modes = []Mode{Staging, Production}

// ModesOf lists the modes in which a resource has an index.
func ModesOf(r releases.Resource) []Mode {
	switch {
	case r.Static:
		return []Mode{Static}
	case r.StagingOnly:
		return []Mode{Staging}
	}
	return []Mode{Staging, Production}
}

// IndexName is the name of an index, taken apart.
//
//	{mode}{prefix}.{tenant}.{base}[-{partition}]
type IndexName struct {
	// Shadow stands in front of everything else in the names of indices that
	// are only made to be looked at, see Rehearsal; "" in all others.
	Shadow    string
	Mode      Mode
	Prefix    string // of the release
	Tenant    string
	Base      string
	Partition string // "" when unpartitioned
}

// String puts the name together.
func (n IndexName) String() string {
	s := n.Shadow + string(n.Mode) + n.Prefix + "." + n.Tenant + "." + n.Base
	if n.Partition != "" {
		s += "-" + n.Partition
	}
	return s
}

// Alias is the name under which Tracardi reads: it has no version in it.
func (n IndexName) Alias() string { return string(n.Mode) + n.Tenant + "." + n.Base }

// Template is the name of the index template of a partitioned resource, as
// releases since 0.8.0 name it; see TemplateIn.
func (n IndexName) Template() string {
	return string(n.Mode) + "template." + n.Prefix + "." + n.Tenant + "." + n.Base
}

// TemplateIn is the name of the index template in a release.
func (n IndexName) TemplateIn(r *releases.Release) string {
	return r.TemplateName(string(n.Mode), n.Tenant, n.Base)
}

// frozenBase stands for a resource in the name of the template that TMS freezes
// a version with, before the version's prefix: some releases leave that out.
const frozenBase = "tms-frozen-"

// FreezingTemplate is the name of the template that keeps a release's version of
// a tenant closed; tenant is its name in that version.
func FreezingTemplate(r *releases.Release, tenant string) string {
	return r.TemplateName(string(Staging), tenant, frozenBase+r.Prefix)
}

// Freezes says that a name is a FreezingTemplate's.
func Freezes(template string) bool {
	return strings.HasPrefix(template[strings.LastIndexByte(template, '.')+1:], frozenBase)
}

// TemplatePattern is the pattern that Tracardi's own templates carry.
func (n IndexName) TemplatePattern() string {
	return string(n.Mode) + n.Prefix + "." + n.Tenant + "." + n.Base + "-*-*"
}

var partitionPattern = regexp.MustCompile(`^\d{4}-(?:\d{1,2}|q[1-4]|year)$`)

// Parse takes a name apart. ok is false when it does not follow the
// layout; a base that merely looks partitioned is left whole.
func Parse(name string) (n IndexName, ok bool) {
	rest := name
	for _, m := range []Mode{Production, Static} {
		if strings.HasPrefix(rest, string(m)) {
			n.Mode, rest = m, rest[len(m):]
			break
		}
	}
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return IndexName{}, false
	}
	n.Prefix, n.Tenant, n.Base = parts[0], parts[1], parts[2]
	// A partition is the last two dash-separated words: 2023-2, 2023-q1.
	if i := strings.LastIndexByte(n.Base, '-'); i > 0 {
		if j := strings.LastIndexByte(n.Base[:i], '-'); j > 0 && partitionPattern.MatchString(n.Base[j+1:]) {
			n.Base, n.Partition = n.Base[:j], n.Base[j+1:]
		}
	}
	return n, true
}

// PartitionAt is the partition of a point in time, in UTC as Tracardi counts.
func PartitionAt(p releases.Partitioning, t time.Time) string {
	t = t.UTC()
	switch p {
	case releases.Monthly:
		return fmt.Sprintf("%d-%d", t.Year(), int(t.Month()))
	case releases.Quarterly:
		return fmt.Sprintf("%d-q%d", t.Year(), (int(t.Month())+2)/3)
	case releases.Yearly:
		return fmt.Sprintf("%d-year", t.Year())
	default:
		return ""
	}
}

// TargetPartition is the partition into which the documents of a source
// partition belong when the target resource is partitioned by p.
//
// A finer source goes into the coarser partition that contains it. A coarser
// source keeps its own partition: it cannot be cut without looking into its
// documents, and one alias may hold several kinds. An unpartitioned source
// goes into the partition of now, whole.
func TargetPartition(source string, p releases.Partitioning, now time.Time) (string, error) {
	if p == releases.Unpartitioned {
		return "", nil
	}
	if source == "" {
		return PartitionAt(p, now), nil
	}
	year, rest, _ := strings.Cut(source, "-")
	switch {
	case rest == "year":
		return source, nil
	case strings.HasPrefix(rest, "q"):
		if p == releases.Yearly {
			return year + "-year", nil
		}
		return source, nil
	}
	month, err := strconv.Atoi(rest)
	if err != nil || month < 1 || month > 12 {
		return "", fmt.Errorf("partition %q: %q is not a month from 1 to 12", source, rest)
	}
	switch p {
	case releases.Quarterly:
		return fmt.Sprintf("%s-q%d", year, (month+2)/3), nil
	case releases.Yearly:
		return year + "-year", nil
	default:
		return source, nil
	}
}

// PartitionStart is a sortable key for the beginning of a partition: the
// labels themselves do not sort as text.
func PartitionStart(p string) int {
	year, rest, _ := strings.Cut(p, "-")
	y, _ := strconv.Atoi(year)
	switch {
	case rest == "year" || p == "":
		return y * 100
	case strings.HasPrefix(rest, "q"):
		q, _ := strconv.Atoi(rest[1:])
		return y*100 + (q-1)*3 + 1
	default:
		m, _ := strconv.Atoi(rest)
		return y*100 + m
	}
}

// PartitionOver says whether the period of a partition has ended.
func PartitionOver(partition string, now time.Time) bool {
	for _, p := range []releases.Partitioning{releases.Monthly, releases.Quarterly, releases.Yearly} {
		if partition == PartitionAt(p, now) {
			return false
		}
	}
	return PartitionStart(partition) < now.UTC().Year()*100+int(now.UTC().Month())
}
