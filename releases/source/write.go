package source

import (
	"fmt"
	"io/fs"
	"path"

	"go.yaml.in/yaml/v3"
)

// manifest is release.yaml.
type manifest struct {
	Version   string           `yaml:"version"`
	Prefix    string           `yaml:"prefix"`
	Previous  string           `yaml:"previous,omitempty"`
	Resources map[string]entry `yaml:"resources"`
}

type entry struct {
	Base         string         `yaml:"base"`
	Static       bool           `yaml:"static,omitempty"`
	Partitioning string         `yaml:"partitioning,omitempty"`
	Settings     map[string]any `yaml:"settings,omitempty"`
}

// write makes the files of the bundle.
func (r *reader) write(m *migration) error {
	main := manifest{Version: r.out.Version, Prefix: r.prefix, Previous: r.out.Previous, Resources: map[string]entry{}}
	for _, res := range r.resources {
		main.Resources[res.key] = entry{res.base, res.static, res.partitioning, res.settings}
		if err := r.file(path.Join("mappings", res.base+".yaml"), res.mapping); err != nil {
			return err
		}
	}
	if err := r.file("release.yaml", main); err != nil {
		return err
	}
	if m != nil {
		if err := r.file("migration.yaml", m); err != nil {
			return err
		}
	}
	return r.licence()
}

func (r *reader) file(name string, v any) error {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	r.out.Files[path.Join(r.out.Version, name)] = raw
	return nil
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
		r.out.Files[path.Join(r.out.Version, "LICENSE.source")] = raw
		return nil
	}
	r.out.note("no licence file in the tree: what was taken from it stays under its terms all the same")
	return nil
}
