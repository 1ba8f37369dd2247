// Package releases knows what each Tracardi release looks like in the search
// engine (resources, mappings, settings, partitioning) and how the documents
// of one release become documents of the next.
//
// A release comes as a bundle: a directory with release.yaml, a mapping per
// resource and migration.yaml (docs/releases.md describes the format). Load
// reads bundles into a Catalogue and refuses what is inconsistent, naming file
// and line; Builtin has those that come with TMS.
//
// A Transform is a list of declarative operations. It exists twice: Painless
// renders it for the engine, Apply performs it here, and both come to the same
// document, so that a copy can be proven by comparing Digests: the source's
// documents, transformed here, against the target's as they are. Canonical and
// CanonicalJSON define when two documents are the same.
//
// Begin with this file and transform.go; load.go and what it calls check bundles,
// op.go has the operations, apply.go and painless.go their two performances,
// canonical.go and digest.go the comparison, inverse.go the way back.
//
// It is a pure domain: no network, no database, no clock.
package releases

// Partitioning says how a resource is cut into indices over time.
type Partitioning string

// The partitionings Tracardi can express in an index name. day, hour and
// minute exist in its configuration but put a '/' into the name, which no
// engine accepts, so no installation can have them.
const (
	Unpartitioned Partitioning = ""
	Monthly       Partitioning = "month"   // {y}-{m}, no zero padding
	Quarterly     Partitioning = "quarter" // {y}-q{n}
	Yearly        Partitioning = "year"    // {y}-year
)

// Release is one Tracardi data structure: what a fresh tenant of that version
// has in the engine. Values are immutable after loading and safe for
// concurrent use.
type Release struct {
	Version  string // what operators type: "0.8.1"
	Prefix   string // what index names carry: "08x"; a label, not digits
	Previous string // version of the predecessor, "" for the oldest known
	// Resources are sorted by Key.
	Resources []Resource
	// Migration leads from Previous to this release; nil when Previous is "".
	Migration *Migration
	// Digest is the hex SHA-256 over the bundle's files, so that a proof can
	// say which definition it was taken with.
	Digest string
	// PlainTemplates says that names of index templates carry no version:
	// template.{tenant}.{base}, as up to 0.7.4.
	PlainTemplates bool
}

// TemplateName is the name of the index template of a resource. mode is the
// prefix of the environment ("", "prod-"), tenant the name in index names.
func (r *Release) TemplateName(mode, tenant, base string) string {
	if r.PlainTemplates {
		return mode + "template." + tenant + "." + base
	}
	return mode + "template." + r.Prefix + "." + tenant + "." + base
}

// Resource is one kind of data of a release; it exists in staging and in
// production, unless it is Static (one index for both) or StagingOnly.
type Resource struct {
	Key    string // "event-to-profile"
	Base   string // "tracardi-event_to_profile": does not follow from Key
	Static bool
	// StagingOnly resources are of a release that knows no production.
	StagingOnly  bool
	Partitioning Partitioning
	// Mapping is the complete mapping, including "dynamic" and "_meta", with
	// the Go types encoding/json decodes to by default (numbers are float64).
	// It is shared: copy it before you change it.
	Mapping map[string]any
	// Settings are the index settings as nested objects below "index":
	// number_of_shards, refresh_interval, mapping.total_fields.limit, ...
	// number_of_replicas is left to the operator and is not in here. Leaves
	// are strings, as the engine reports settings. Shared like Mapping.
	Settings map[string]any
}

// Migration says, resource by resource, how documents of release From become
// documents of release To.
type Migration struct {
	From, To string // versions
	// Steps are keyed by the resource key of the *target* release. Every
	// non-static resource of the target has an entry or is new (no entry).
	Steps map[string]Step
	// Gone lists source resource keys without a successor, each with the
	// reason that plan and documentation show.
	Gone map[string]string
}

// Step moves the documents of one source resource into one target resource.
type Step struct {
	From      string // key of the source resource
	Transform Transform
	// Drops names source fields that the target cannot hold, with the reason.
	// It is documentation for the plan; the transform does the removing.
	Drops []Drop
	// Examples are documents whose fate is stated beside the transform.
	Examples []Example
}

// Example says what becomes of one document. Values are as DecodeDoc gives
// them.
type Example struct {
	Name string
	Mode string // InStaging, InProduction, "" for both
	In   map[string]any
	Out  map[string]any // nil when the document is dropped or routed
	// Routed says that another resource takes the document.
	Routed bool
	Line   int // of migration.yaml
}

// Drop is a source field that does not survive a step.
type Drop struct {
	Field  string // dotted path
	Reason string
}
