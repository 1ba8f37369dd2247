package releases

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	releaseFile   = "release.yaml"
	migrationFile = "migration.yaml"
	mappingsDir   = "mappings"
)

var (
	versionPattern = regexp.MustCompile(`^\d+(\.\d+)+$`)
	// A prefix becomes the first part of index names, before a dot.
	prefixPattern = regexp.MustCompile(`^[0-9a-z]{1,16}$`)
	keyPattern    = regexp.MustCompile(`^[a-z0-9]+([-_][a-z0-9]+)*$`)
)

// bundle is a release while it is being read: the release and the places its
// parts come from.
type bundle struct {
	fsys     fs.FS
	dir      string
	doc      *document
	release  *Release
	lines    map[string]*yaml.Node // resource key -> where it stands
	used     map[string]bool       // files below dir that are read
	previous *yaml.Node
	problems *problems
}

// readBundle reads everything of one directory but the migration.
func readBundle(fsys fs.FS, dir string, p *problems) *bundle {
	b := &bundle{fsys: fsys, dir: dir, release: &Release{}, lines: map[string]*yaml.Node{}, problems: p,
		used: map[string]bool{releaseFile: true, migrationFile: true}}
	b.doc = readDocument(fsys, path.Join(dir, releaseFile), p)
	if b.doc.root == nil {
		return nil
	}
	d, r := b.doc, b.release
	f := d.fields(d.root, "release", "version", "prefix", "previous", "production", "versioned_templates", "resources")
	r.Version = d.text(f["version"], "version")
	r.Prefix = d.text(f["prefix"], "prefix")
	r.Previous = d.text(f["previous"], "previous")
	b.previous = f["previous"]
	if !versionPattern.MatchString(r.Version) {
		d.problem(orRoot(f["version"], d), "version %q is not of the form 0.8.1", r.Version)
	} else if r.Version != dir {
		d.problem(f["version"], "version %s in a directory named %q: they must agree", r.Version, dir)
	}
	if !prefixPattern.MatchString(r.Prefix) {
		d.problem(orRoot(f["prefix"], d), "prefix %q must be 1 to 16 of a-z and 0-9", r.Prefix)
	}
	r.PlainTemplates = f["versioned_templates"] != nil && !d.boolean(f["versioned_templates"], "versioned_templates")
	stagingOnly := f["production"] != nil && !d.boolean(f["production"], "production")
	for _, e := range d.entries(f["resources"], "resources") {
		b.resource(e)
	}
	for i := range r.Resources {
		r.Resources[i].StagingOnly = stagingOnly && !r.Resources[i].Static
	}
	if len(r.Resources) == 0 {
		d.problem(orRoot(f["resources"], d), "a release needs resources")
	}
	sort.Slice(r.Resources, func(i, j int) bool { return r.Resources[i].Key < r.Resources[j].Key })
	r.Digest = b.files()
	return b
}

func orRoot(n *yaml.Node, d *document) *yaml.Node {
	if n == nil {
		return d.root
	}
	return n
}

func (b *bundle) resource(e entry) {
	d, what := b.doc, "resource "+e.name
	if !keyPattern.MatchString(e.name) {
		d.problem(e.key, "%s: a key is lower case letters, digits, - and _", what)
	}
	f := d.fields(e.value, what, "base", "static", "partitioning", "settings", "mapping")
	res := Resource{
		Key:          e.name,
		Base:         d.text(f["base"], what+": base"),
		Static:       d.boolean(f["static"], what+": static"),
		Partitioning: Partitioning(d.text(f["partitioning"], what+": partitioning")),
	}
	if !keyPattern.MatchString(res.Base) {
		d.problem(e.key, "%s: base %q must be lower case letters, digits, - and _", what, res.Base)
		return
	}
	for _, other := range b.release.Resources {
		if other.Base == res.Base {
			d.problem(f["base"], "%s: base %s belongs to resource %s already", what, res.Base, other.Key)
		}
	}
	switch res.Partitioning {
	case Unpartitioned, Monthly, Quarterly, Yearly:
	default:
		d.problem(f["partitioning"], "%s: unknown partitioning %q; known are month, quarter, year", what, res.Partitioning)
	}
	if res.Static && res.Partitioning != Unpartitioned {
		d.problem(f["partitioning"], "%s: a static resource cannot be partitioned", what)
	}
	res.Settings = b.settings(f["settings"], what)
	file := path.Join(mappingsDir, res.Base+".yaml")
	if n := f["mapping"]; n != nil {
		file = d.text(n, what+": mapping")
	}
	b.used[path.Clean(file)] = true
	res.Mapping = b.mapping(path.Join(b.dir, file), res.Base)
	b.lines[res.Key] = e.key
	b.release.Resources = append(b.release.Resources, res)
}

// settings reads index settings. Leaves become strings, as the engine reports
// them, so that both can be compared.
func (b *bundle) settings(n *yaml.Node, what string) map[string]any {
	f := b.doc.entries(n, what+": settings")
	out := make(map[string]any, len(f))
	for _, e := range f {
		if e.name == "number_of_replicas" {
			b.doc.problem(e.key, "%s: number_of_replicas is the operator's choice, not the release's", what)
			continue
		}
		out[e.name] = settingText(b.doc.value(e.value, what+": settings"))
	}
	return out
}

func settingText(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = settingText(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = settingText(e)
		}
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	}
	return v
}

func (b *bundle) mapping(file, base string) map[string]any {
	name := path.Base(file)
	if strings.TrimSuffix(name, path.Ext(name)) != base {
		b.problems.add(file, 0, "this is the mapping of %s: the file must be named after it", base)
	}
	d := readDocument(b.fsys, file, b.problems)
	if d.root == nil {
		return nil
	}
	f := d.fields(d.root, "mapping", "dynamic", "date_detection", "numeric_detection", "dynamic_date_formats", "dynamic_templates", "_meta", "_source", "_routing", "properties")
	if meta := f["_meta"]; meta == nil {
		d.problem(d.root, "the mapping lacks _meta with version and name")
	} else if m, _ := d.value(meta, "_meta").(map[string]any); m["version"] != b.release.Prefix {
		d.problem(meta, "_meta.version is %v in a release with prefix %q: they must agree, as text", m["version"], b.release.Prefix)
	}
	checkProperties(d, f["properties"], "")
	m, _ := plainNumbers(d.value(d.root, "mapping")).(map[string]any)
	return m
}

// plainNumbers gives the value encoding/json would decode without UseNumber,
// which is what mappings of the engine are compared as.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case json.Number:
		f, _ := v.Float64()
		return f
	}
	return v
}

// checkProperties finds what no engine would accept, so that a slip is found
// here and not in the middle of a fleet.
func checkProperties(d *document, n *yaml.Node, parent string) {
	for _, e := range d.entries(n, "properties") {
		field := parent + e.name
		if e.name == "" || strings.Contains(e.name, ".") {
			d.problem(e.key, "field %q: a name must not be empty nor hold a dot; nest it", field)
		}
		if e.value.Kind != yaml.MappingNode {
			d.problem(e.key, "field %s: needs a type or properties", field)
			continue
		}
		var typed, nested bool
		for _, a := range d.entries(e.value, "field "+field) {
			switch a.name {
			case "type":
				kind := d.text(a.value, "field "+field+": type")
				typed = kind != ""
				// A type that is near none may come with a plugin: the engine is
				// asked before an upgrade.
				if near := meant(kind, mappingTypes); near != "" && !slices.Contains(mappingTypes, kind) {
					d.problem(a.value, "field %s: no engine has the type %q%s", field, kind, near)
				}
			case "properties":
				nested = true
				checkProperties(d, a.value, field+".")
			case "dynamic", "enabled":
				nested = true
			}
		}
		if !typed && !nested {
			d.problem(e.key, "field %s: needs a type or properties", field)
		}
	}
}

// files reads the directory once: it refuses files that nothing reads (a
// mapping somebody edits in vain is worse than an error), and returns SHA-256
// over name, length and content of every file in the order of names.
func (b *bundle) files() string {
	h := sha256.New()
	err := fs.WalkDir(b.fsys, b.dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(file, b.dir+"/")
		if ext := path.Ext(name); (ext == ".yaml" || ext == ".yml" || ext == ".json") && !b.used[name] {
			b.problems.add(file, 0, "no resource refers to this file")
		}
		raw, err := fs.ReadFile(b.fsys, file)
		if err != nil {
			return err
		}
		for _, part := range [][]byte{[]byte(name), raw} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash accepts everything
			h.Write(part)
		}
		return nil
	})
	if err != nil {
		b.problems.add(b.dir, 0, "cannot be read: %v", err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
