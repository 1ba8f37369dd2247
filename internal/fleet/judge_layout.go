package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
)

// indexState is an index, or the template of one, as the engine shows it.
type indexState struct {
	Aliases  map[string]json.RawMessage `json:"aliases"`
	Mappings map[string]any             `json:"mappings"`
	Settings struct {
		Index map[string]any `json:"index"`
	} `json:"settings"`
}

// layout checks aliases, indices and templates against the release. It returns
// the aliases that are there.
func (j *judge) layout(ctx context.Context, resources []releases.Resource) (map[string]bool, error) {
	t := j.tenant
	aliases, err := t.engine.aliases(ctx, append(t.aliasPatterns(), string(Static)+t.named(j.release.Prefix)+".tracardi-*")...)
	if err != nil {
		return nil, err
	}
	indices := map[string]indexState{}
	patterns := []string{}
	for _, mode := range []Mode{Staging, Production, Static} {
		patterns = append(patterns, indexName(mode, j.release.Prefix, t.named(j.release.Prefix), "tracardi-*", ""))
	}
	if _, err := t.engine.call(ctx, http.MethodGet, "/"+strings.Join(patterns, ","), nil, &indices); err != nil && !isMissing(err) {
		return nil, err
	}
	templates, err := j.templates(ctx)
	if err != nil {
		return nil, err
	}
	j.report.Indices = len(indices)
	present, claimed := map[string]bool{}, map[string]bool{}
	for _, s := range slots(resources) {
		alias := aliasName(s.mode, t.named(j.release.Prefix), s.res.Base)
		j.alias(s, alias, aliases[alias])
		present[alias] = len(aliases[alias]) > 0
		prefix := indexName(s.mode, j.release.Prefix, t.named(j.release.Prefix), s.res.Base, "")
		for name, index := range indices {
			if _, ok := labelOf(name, prefix, s.res.Partitioning); !ok {
				continue
			}
			claimed[name] = true
			if _, ok := index.Aliases[alias]; !ok {
				j.found.add(Discrepancy{Index, name, "", "stands without the alias " + alias + ": nobody sees what is in it"})
			}
			j.index(s, name, index)
		}
		if s.res.Partitioning != releases.Unpartitioned {
			j.template(s, alias, templates)
		}
	}
	j.report.Aliases = len(present)
	if len(t.cfg.Only) > 0 {
		return present, nil // the engine may hold more than this tenant knows of
	}
	for _, name := range slices.Sorted(maps.Keys(indices)) {
		if !claimed[name] {
			j.found.add(Discrepancy{Index, name, "", "no resource of release " + j.release.Version + " has such an index"})
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		if _, ok := present[alias]; !ok {
			j.found.add(Discrepancy{Alias, alias, "", fmt.Sprintf("points to %s; release %s has no such alias", strings.Join(aliases[alias], ", "), j.release.Version)})
		}
	}
	return present, nil
}

// alias checks that one alias points to indices of the release and of no other.
// Static aliases cover all versions, by Tracardi's design.
func (j *judge) alias(s slot, alias string, indices []string) {
	ours := 0
	for _, index := range indices {
		prefix := j.tenant.prefixOf(index, s.mode)
		switch {
		case prefix == j.release.Prefix:
			ours++
		case s.mode != Static:
			j.found.add(Discrepancy{Alias, alias, "", fmt.Sprintf("points to %s, which is not of release %s", index, j.release.Version)})
		}
	}
	if ours == 0 {
		j.found.add(Discrepancy{Alias, alias, "", "points to no index of release " + j.release.Version})
	}
}

// index compares one index with the bundle.
func (j *judge) index(s slot, name string, index indexState) {
	want := translate(s.res.Mapping, j.tenant.flattened).(map[string]any)
	if d := mappingDifference("", want, index.Mappings); d != "" {
		j.found.add(Discrepancy{Mapping, name, "", d})
	}
	j.settings(name, s.res.Settings, index.Settings.Index)
	if replicas := fmt.Sprint(index.Settings.Index["number_of_replicas"]); replicas != "0" {
		j.found.add(Discrepancy{Settings, name, "", "number_of_replicas is " + replicas + ", it was installed with 0"})
	}
	if blocks, ok := index.Settings.Index["blocks"].(map[string]any); ok {
		for _, block := range slices.Sorted(maps.Keys(blocks)) {
			if fmt.Sprint(blocks[block]) == "true" {
				j.found.add(Discrepancy{Settings, name, "", "blocks." + block + " is left on it"})
			}
		}
	}
}

// settings compares those that the bundle names, and the refresh interval in
// any case: a copy switches it off and has to put it back.
func (j *judge) settings(name string, want, have map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if d := textDifference(key, want[key], have[key]); d != "" {
			j.found.add(Discrepancy{Settings, name, "", d})
		}
	}
	if _, ok := want["refresh_interval"]; !ok && have["refresh_interval"] != nil && fmt.Sprint(have["refresh_interval"]) != "1s" {
		j.found.add(Discrepancy{Settings, name, "", fmt.Sprintf("refresh_interval is %v, the release leaves it to the engine", have["refresh_interval"])})
	}
}

// template checks the template of a partitioned resource: without it, and
// without the alias in it, the documents of next month are invisible.
func (j *judge) template(s slot, alias string, templates map[string]templateState) {
	t := j.tenant
	name := templateName(s.mode, j.release.Prefix, t.named(j.release.Prefix), s.res.Base)
	have, ok := templates[name]
	if !ok {
		j.found.add(Discrepancy{Template, name, "", "does not exist"})
		return
	}
	if pattern := templatePattern(s.mode, j.release.Prefix, t.named(j.release.Prefix), s.res.Base); !slices.Equal(have.Patterns, []string{pattern}) {
		// entity-*-* of years and quarters is one pattern, so any other is wrong.
		j.found.add(Discrepancy{Template, name, "", fmt.Sprintf("applies to %v instead of %s", have.Patterns, pattern)})
	}
	if _, ok := have.Template.Aliases[alias]; !ok {
		j.found.add(Discrepancy{Template, name, "", "does not carry the alias " + alias})
	}
	want := translate(s.res.Mapping, t.flattened).(map[string]any)
	if d := textDifference("mapping", want, any(have.Template.Mappings)); d != "" {
		j.found.add(Discrepancy{Template, name, "", d})
	}
	j.settings(name, s.res.Settings, have.Template.Settings.Index)
}

type templateState struct {
	Patterns []string   `json:"index_patterns"`
	Template indexState `json:"template"`
}

func (j *judge) templates(ctx context.Context) (map[string]templateState, error) {
	found := map[string]templateState{}
	for _, mode := range []Mode{Staging, Production} {
		var out struct {
			Templates []struct {
				Name  string        `json:"name"`
				State templateState `json:"index_template"`
			} `json:"index_templates"`
		}
		pattern := templateName(mode, j.release.Prefix, j.tenant.named(j.release.Prefix), "*")
		if _, err := j.tenant.engine.call(ctx, http.MethodGet, "/_index_template/"+pattern, nil, &out); err != nil && !isMissing(err) {
			return nil, err
		}
		for _, tpl := range out.Templates {
			found[tpl.Name] = tpl.State
		}
	}
	return found, nil
}

// mappingDifference names the first field in which an index differs from its
// bundle. Fields that documents added below dynamic objects are no difference.
func mappingDifference(path string, want, have map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if key == "properties" {
			continue
		}
		if d := textDifference(join(path, key), want[key], have[key]); d != "" && !defaulted(key, want[key], have) {
			return d
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; !ok && key != "properties" {
			return fmt.Sprintf("%s is %s, the bundle has no such property", join(path, key), brief(have[key]))
		}
	}
	wanted, _ := want["properties"].(map[string]any)
	there, _ := have["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w, _ := wanted[name].(map[string]any)
		h, ok := there[name].(map[string]any)
		if !ok {
			return "field " + join(path, name) + " is not mapped"
		}
		if d := mappingDifference(join(path, name), w, h); d != "" {
			return d
		}
	}
	if dynamic(want) {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, ok := wanted[name]; !ok {
			return "field " + join(path, name) + " is mapped, the bundle does not know it"
		}
	}
	return ""
}

// defaulted: an object without fields is shown with "type": "object"; once a
// document has given it fields, the engine shows the fields instead.
func defaulted(key string, want any, have map[string]any) bool {
	_, fields := have["properties"]
	return key == "type" && want == "object" && fields
}

// textDifference compares configuration, where the engine turns numbers and
// truth values into text.
func textDifference(path string, want, have any) string {
	w, isMap := want.(map[string]any)
	if !isMap {
		if fmt.Sprint(want) == fmt.Sprint(have) {
			return ""
		}
		return differs(path, want, have)
	}
	h, ok := have.(map[string]any)
	if !ok {
		return differs(path, want, have)
	}
	for _, key := range slices.Sorted(maps.Keys(w)) {
		if d := textDifference(join(path, key), w[key], h[key]); d != "" {
			return d
		}
	}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if _, ok := w[key]; !ok {
			return fmt.Sprintf("%s is %s, expected no such setting", join(path, key), brief(h[key]))
		}
	}
	return ""
}
