package releases

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
)

// Draft is a release on its way to become a bundle: imported, captured or
// begun by hand.
type Draft struct {
	Version, Prefix string
	Previous        *Release // nil for none
	Resources       []Resource
	// Scripts are raw Painless by resource key and mode, "" for both.
	Scripts map[string]map[string]string
	// Sources names the resource of Previous where it is not of the same base.
	Sources map[string]string
	// Gone gives reasons, by resource key of Previous.
	Gone map[string]string
	// PlainTemplates is as in Release; whether production is known follows from
	// the resources.
	PlainTemplates bool
}

type draftRelease struct {
	Version  string `yaml:"version"`
	Prefix   string `yaml:"prefix"`
	Previous string `yaml:"previous,omitempty"`
	// Both are true where they are missing.
	Production         *bool                    `yaml:"production,omitempty"`
	VersionedTemplates *bool                    `yaml:"versioned_templates,omitempty"`
	Resources          map[string]draftResource `yaml:"resources"`
}

type draftResource struct {
	Base         string         `yaml:"base"`
	Static       bool           `yaml:"static,omitempty"`
	Partitioning Partitioning   `yaml:"partitioning,omitempty"`
	Settings     map[string]any `yaml:"settings,omitempty"`
}

type draftMigration struct {
	From      string               `yaml:"from"`
	To        string               `yaml:"to"`
	Unchanged []string             `yaml:"unchanged,omitempty"`
	New       []string             `yaml:"new,omitempty"`
	Steps     map[string]draftStep `yaml:"steps,omitempty"`
	Gone      map[string]string    `yaml:"gone,omitempty"`
}

type draftStep struct {
	From      string    `yaml:"from,omitempty"`
	Transform []draftOp `yaml:"transform,omitempty"`
}

type draftOp struct {
	Op     OpKind `yaml:"op"`
	Script string `yaml:"script"`
	Mode   string `yaml:"mode,omitempty"`
}

// Files writes the bundle, below a directory named after the version. It is
// not checked: LoadAfter does that.
func (d *Draft) Files() (fstest.MapFS, error) {
	out := fstest.MapFS{}
	add := func(name string, v any) error {
		raw, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		out[path.Join(d.Version, name)] = &fstest.MapFile{Data: raw, Mode: 0o644}
		return nil
	}
	main := draftRelease{Version: d.Version, Prefix: d.Prefix, Resources: map[string]draftResource{}}
	no := false
	if d.PlainTemplates {
		main.VersionedTemplates = &no
	}
	for _, r := range d.Resources {
		if r.StagingOnly {
			main.Production = &no
		}
		main.Resources[r.Key] = draftResource{r.Base, r.Static, r.Partitioning, r.Settings}
		mapping, _ := dup(r.Mapping).(map[string]any)
		mapping["_meta"] = map[string]any{"version": d.Prefix, "name": "{tenant}"}
		if err := add(path.Join(mappingsDir, r.Base+".yaml"), mapping); err != nil {
			return nil, err
		}
	}
	if d.Previous != nil {
		main.Previous = d.Previous.Version
		if err := add(migrationFile, d.migration()); err != nil {
			return nil, err
		}
	}
	return out, add(releaseFile, main)
}

// From is the resource of the predecessor that a resource's documents come
// from.
func (d *Draft) From(r Resource) (Resource, bool) {
	if key, ok := d.Sources[r.Key]; ok {
		return d.Previous.Resource(key)
	}
	i := slices.IndexFunc(d.Previous.Resources, func(o Resource) bool { return o.Base == r.Base && !o.Static })
	if i < 0 {
		return Resource{}, false
	}
	return d.Previous.Resources[i], true
}

// migration states something of every resource.
func (d *Draft) migration() draftMigration {
	m := draftMigration{From: d.Previous.Version, To: d.Version, Steps: map[string]draftStep{}, Gone: map[string]string{}}
	used := map[string]bool{}
	for _, r := range d.Resources {
		if r.Static {
			continue
		}
		from, ok := d.From(r)
		if !ok {
			m.New = append(m.New, r.Key)
			continue
		}
		used[from.Key] = true
		step := draftStep{}
		for _, mode := range modes {
			if script := d.Scripts[r.Key][mode]; strings.TrimSpace(script) != "" {
				step.Transform = append(step.Transform, draftOp{OpPainless, script, mode})
			}
		}
		if from.Key != r.Key {
			step.From = from.Key
		}
		if step.From == "" && len(step.Transform) == 0 {
			m.Unchanged = append(m.Unchanged, r.Key)
			continue
		}
		m.Steps[r.Key] = step
	}
	for _, r := range d.Previous.Resources {
		if !r.Static && !used[r.Key] {
			m.Gone[r.Key] = "release " + d.Version + " does not read it"
			if why := d.Gone[r.Key]; why != "" {
				m.Gone[r.Key] = why
			}
		}
	}
	return m
}

// NewDraft begins a release with everything as in its predecessor.
func NewDraft(version, prefix string, previous *Release) *Draft {
	return &Draft{Version: version, Prefix: prefix, Previous: previous, Resources: slices.Clone(previous.Resources), PlainTemplates: previous.PlainTemplates}
}

// OneBundle is the directory of a bundle as Load and LoadAfter read it: the
// directory's own name is its version.
func OneBundle(parent fs.FS, version string) (fs.FS, error) {
	sub, err := fs.Sub(parent, version)
	if err != nil {
		return nil, err
	}
	return mounted{version, sub}, nil
}

// mounted shows one directory of a parent and nothing beside it.
type mounted struct {
	name string
	fs.FS
}

func (m mounted) Open(name string) (fs.File, error) {
	if name == "." {
		return fstest.MapFS{m.name: &fstest.MapFile{Mode: fs.ModeDir | 0o755}}.Open(".")
	}
	rest, ok := strings.CutPrefix(name, m.name)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if rest == "" {
		return m.FS.Open(".")
	}
	return m.FS.Open(rest[1:])
}
