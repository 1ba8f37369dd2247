package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/tracardi/tms/releases"
)

// Options of Read.
type Options struct {
	// Version replaces what the tree says of itself, "" for that: 0.8.2.1 says
	// 0.8.2.
	Version string
	// Known are the releases among which the predecessor is looked for.
	Known []*releases.Release
}

// Import is a release that was read from Tracardi's source.
type Import struct {
	Version  string
	Previous string // "" when none of the known releases is older
	Licence  string // name of the tree's licence file, "" for none
	// Notes say what was corrected, left out, and has to be looked at.
	Notes []string
	// Files is the bundle, below a directory named after the version.
	Files fstest.MapFS
}

func (i *Import) note(format string, args ...any) {
	i.Notes = append(i.Notes, fmt.Sprintf(format, args...))
}

// reader reads one tree.
type reader struct {
	tree      fs.FS
	out       *Import
	prefix    string
	settings  map[string]string // of the configuration, by attribute
	resources []releases.Resource
	// configured resources are partitioned by a setting of the installation.
	configured []string
	previous   *releases.Release
}

// Read makes a bundle of a tree.
func Read(tree fs.FS, o Options) (*Import, error) {
	r := &reader{tree: tree, out: &Import{}, settings: map[string]string{}}
	if err := r.version(o.Version); err != nil {
		return nil, err
	}
	rows, err := r.table()
	if err != nil {
		return nil, err
	}
	if err := r.defaults(rows); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if err := r.resource(row); err != nil {
			return nil, err
		}
	}
	if len(r.configured) > 0 {
		r.out.note("partitioned as the configuration says by default: %s; installations that set it otherwise differ", strings.Join(r.configured, ", "))
	}
	slices.SortFunc(r.resources, func(a, b releases.Resource) int { return strings.Compare(a.Key, b.Key) })
	r.predecessor(o.Known)
	d := &releases.Draft{Version: r.out.Version, Prefix: r.prefix, Previous: r.previous, Resources: r.resources}
	if r.previous != nil {
		if err := r.migration(d); err != nil {
			return nil, err
		}
	}
	if r.out.Files, err = d.Files(); err != nil {
		return nil, err
	}
	return r.out, r.licence()
}

// released is the number of a version that goes on with words, as 0.9.0-dev does.
var released = regexp.MustCompile(`^\d+(\.\d+)+`)

// version finds out which release it is, and what its index names begin with.
func (r *reader) version(given string) error {
	v := given
	if v == "" {
		err := with(r.tree, setupFile, func(p *python) error {
			v, _ = p.keyword("setup", "version")
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if v == "" {
		v = r.wheelVersion()
	}
	if v == "" {
		err := with(r.tree, configFile, func(p *python) error {
			v, _ = p.fallback("VERSION")
			return nil
		})
		if err != nil {
			return err
		}
	}
	if v == "" {
		return errors.New("the tree does not say which version it is: say it with --version")
	}
	if number := released.FindString(v); number != "" && number != v {
		r.out.note("the tree calls itself %s: taken as %s, say --version when it is another one", v, number)
		v = number
	}
	r.out.Version, r.prefix = v, strings.ReplaceAll(v, ".", "")
	err := with(r.tree, versionFile, func(p *python) error {
		if own, ok := p.fallback("db_version"); ok {
			r.prefix = strings.ReplaceAll(own, ".", "")
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// wheelVersion is what a wheel says of itself: its directory is called
// tracardi-0.8.1.dist-info.
func (r *reader) wheelVersion() string {
	dirs, _ := fs.Glob(r.tree, "tracardi-*.dist-info") // the pattern is well formed
	if len(dirs) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(dirs[0], "tracardi-"), ".dist-info")
}

func (r *reader) table() (rows []row, err error) {
	err = with(r.tree, indexFile, func(p *python) error {
		rows, err = p.table("self.resources", "Index")
		return err
	})
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("%s: no index is listed", indexFile)
	}
	return rows, err
}

// defaults reads the settings of the configuration that the table and the
// mappings refer to.
func (r *reader) defaults(rows []row) error {
	wanted := []string{"shards", "conf_shards"}
	for _, row := range rows {
		for _, v := range row.args {
			if ref, ok := v.(reference); ok {
				wanted = append(wanted, string(ref))
			}
		}
	}
	return with(r.tree, configFile, func(p *python) error {
		for _, name := range wanted {
			if v, ok := p.fallback("self." + name); ok {
				r.settings[name] = v
			}
		}
		return nil
	})
}

func (r *reader) resource(row row) error {
	res := releases.Resource{Key: row.key, Base: row.text("index"), Static: row.yes("static")}
	if res.Base == "" {
		return fmt.Errorf("%s line %d: %s has no index name", indexFile, row.line, row.key)
	}
	if row.yes("single") {
		r.out.note("%s (%s) is shared by all tenants and therefore left out", row.key, res.Base)
		return nil
	}
	if row.yes("multi_index") {
		res.Partitioning = releases.Monthly
		switch p := row.args["partitioning"].(type) {
		case string:
			res.Partitioning = releases.Partitioning(p)
		case reference:
			v, ok := r.settings[string(p)]
			if !ok {
				return fmt.Errorf("%s line %d: %s is partitioned by %s, which %s does not set", indexFile, row.line, row.key, p, configFile)
			}
			res.Partitioning = releases.Partitioning(v)
			r.configured = append(r.configured, row.key)
		}
	}
	file := row.text("mapping")
	if file == "" {
		file = "mappings/default-dynamic-index.json"
	}
	if err := r.mapping(path.Join(setupDir, file), &res); err != nil {
		return err
	}
	r.resources = append(r.resources, res)
	return nil
}

// predecessor is the newest known release that is older. One of the same prefix
// makes this a minor release of it.
func (r *reader) predecessor(known []*releases.Release) {
	for _, k := range known {
		if releases.CompareVersions(k.Version, r.out.Version) < 0 && (r.previous == nil || releases.CompareVersions(k.Version, r.previous.Version) > 0) {
			r.previous = k
		}
	}
	if r.previous == nil {
		r.out.note("no known release is older than %s: the bundle has no migration", r.out.Version)
		return
	}
	r.out.Previous = r.previous.Version
}

// mapping reads a file of mapping and settings; its placeholders stand for
// what the configuration says.
func (r *reader) mapping(file string, res *releases.Resource) error {
	raw, err := fs.ReadFile(r.tree, file)
	if err != nil {
		return fmt.Errorf("mapping of %s: %w", res.Key, err)
	}
	text := strings.NewReplacer(
		"%%PREFIX%%", "{tenant}", "%%VERSION%%", r.prefix, "%%ALIAS%%", "alias", "%%TEMPLATE_PATTERN%%", "pattern",
		"%%REPLICAS%%", "1", "%%SHARDS%%", orOne(r.settings["shards"]), "%%CONF_SHARDS%%", orOne(r.settings["conf_shards"]),
	).Replace(string(raw))
	if i := strings.Index(text, "%%"); i >= 0 {
		return fmt.Errorf("%s: unknown placeholder %.20s", file, text[i:])
	}
	var body struct {
		Settings, Mappings map[string]any
		Template           struct{ Settings, Mappings map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	res.Settings, res.Mapping = body.Settings, body.Mappings
	if body.Template.Mappings != nil {
		res.Settings, res.Mapping = body.Template.Settings, body.Template.Mappings
	}
	if (body.Template.Mappings != nil) != (res.Partitioning != "") {
		r.out.note("%s: %s and the table of indices do not agree whether it is partitioned; the table is followed", res.Key, path.Base(file))
	}
	if res.Mapping == nil {
		return fmt.Errorf("%s: no mappings in it", file)
	}
	res.Settings, res.Mapping = releases.NormalSettings(res.Settings), releases.NormalMapping(res.Mapping)
	meta, _ := res.Mapping["_meta"].(map[string]any)
	if meta == nil || meta["version"] != r.prefix {
		r.out.note("%s: its mapping does not carry the release in _meta; added", res.Key)
	}
	return nil
}

func orOne(shards string) string {
	if shards == "" {
		return "1"
	}
	return shards
}

// licence keeps the tree's licence beside what was taken from it.
func (r *reader) licence() error {
	for _, pattern := range []string{licencePattern, "*.dist-info/" + licencePattern, "*.dist-info/licenses/" + licencePattern} {
		found, err := fs.Glob(r.tree, pattern)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		raw, err := fs.ReadFile(r.tree, found[0])
		if err != nil {
			return err
		}
		r.out.Licence = path.Base(found[0])
		r.out.Files[path.Join(r.out.Version, "LICENSE.source")] = &fstest.MapFile{Data: raw, Mode: 0o644}
		return nil
	}
	r.out.note("no licence file in the tree: what was taken from it stays under its terms all the same")
	return nil
}
