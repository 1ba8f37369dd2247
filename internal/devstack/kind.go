package devstack

import (
	"fmt"
	"os"
	"strings"
)

// EngineKind names a product and minor version this package can start.
type EngineKind string

// The engines that can be assembled from published jars. Every one has
// reindex, Painless, mapper extras (flattened excepted, see kinds), join and
// mustache.
const (
	Elasticsearch717 EngineKind = "elasticsearch-7.17" // 7.17.29, the default
	Elasticsearch710 EngineKind = "elasticsearch-7.10" // 7.10.2 OSS: no flattened
	OpenSearch219    EngineKind = "opensearch-2.19"    // 2.19.1: flat_object instead of flattened
)

// engineEnv chooses the kind where the caller does not.
const engineEnv = "TMS_DEV_ENGINE"

// blueprint is what differs between the kinds. The folder engines/<kind> holds
// the rest: the jars (pom.xml) and the launcher (java/).
type blueprint struct {
	config  string   // file the server reads its settings from
	plugins []string // modules, as classes on the class path
}

var blueprints = map[EngineKind]blueprint{
	Elasticsearch717: {config: "elasticsearch.yml", plugins: []string{
		"org.elasticsearch.transport.Netty4Plugin",
		"org.elasticsearch.reindex.ReindexPlugin",
		"org.elasticsearch.index.mapper.MapperExtrasPlugin",
		"org.elasticsearch.script.mustache.MustachePlugin",
		"org.elasticsearch.join.ParentJoinPlugin",
		"tms.devstack.PainlessBridge",
	}},
	Elasticsearch710: {config: "elasticsearch.yml", plugins: []string{
		"org.elasticsearch.transport.Netty4Plugin",
		"org.elasticsearch.index.reindex.ReindexPlugin",
		"org.elasticsearch.index.mapper.MapperExtrasPlugin",
		"org.elasticsearch.script.mustache.MustachePlugin",
		"org.elasticsearch.join.ParentJoinPlugin",
		"org.elasticsearch.painless.PainlessPlugin",
		"org.elasticsearch.analysis.common.CommonAnalysisPlugin",
		"org.elasticsearch.ingest.common.IngestCommonPlugin",
	}},
	OpenSearch219: {config: "opensearch.yml", plugins: []string{
		"org.opensearch.transport.Netty4Plugin",
		"org.opensearch.index.reindex.ReindexPlugin",
		"org.opensearch.index.mapper.MapperExtrasPlugin",
		"org.opensearch.script.mustache.MustachePlugin",
		"org.opensearch.join.ParentJoinPlugin",
		"org.opensearch.painless.PainlessPlugin",
		"org.opensearch.analysis.common.CommonAnalysisPlugin",
		"org.opensearch.ingest.common.IngestCommonPlugin",
	}},
}

// EngineKinds lists the kinds, the default first.
func EngineKinds() []EngineKind {
	return []EngineKind{Elasticsearch717, Elasticsearch710, OpenSearch219}
}

// ParseEngineKind checks a name; "" is the default kind.
func ParseEngineKind(name string) (EngineKind, error) {
	if name == "" {
		return Elasticsearch717, nil
	}
	kind := EngineKind(name)
	if _, ok := blueprints[kind]; !ok {
		names := make([]string, 0, len(blueprints))
		for _, known := range EngineKinds() {
			names = append(names, string(known))
		}
		return "", fmt.Errorf("unknown engine %q: choose one of %s", name, strings.Join(names, ", "))
	}
	return kind, nil
}

// EngineKindFromEnv is the kind that TMS_DEV_ENGINE names, or the default.
func EngineKindFromEnv() (EngineKind, error) {
	kind, err := ParseEngineKind(os.Getenv(engineEnv))
	if err != nil {
		return "", fmt.Errorf("%s: %w", engineEnv, err)
	}
	return kind, nil
}
