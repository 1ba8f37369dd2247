package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
)

// copyStep is a step of Tracardi's migration file. Between the steps the file
// has comments, as plain text.
type copyStep struct {
	Copy struct {
		From       string `json:"from_index"`
		To         string `json:"to_index"`
		Multi      bool   `json:"multi"`
		Production bool   `json:"production"`
		Script     string `json:"script"`
	} `json:"copy_index"`
}

// migration is migration.yaml.
type migration struct {
	From      string            `yaml:"from"`
	To        string            `yaml:"to"`
	Unchanged []string          `yaml:"unchanged,omitempty"`
	New       []string          `yaml:"new,omitempty"`
	Steps     map[string]step   `yaml:"steps,omitempty"`
	Gone      map[string]string `yaml:"gone,omitempty"`
}

type step struct {
	From      string `yaml:"from,omitempty"`
	Transform []op   `yaml:"transform,omitempty"`
}

type op struct {
	Op     string `yaml:"op"`
	Script string `yaml:"script"`
	Mode   string `yaml:"mode,omitempty"`
}

// scripts of one resource's steps.
type scripts struct {
	from                string
	staging, production *string
}

// migration turns Tracardi's file into ours; nil when there is no predecessor.
func (r *reader) migration() (*migration, error) {
	if r.previous == nil {
		return nil, nil
	}
	steps, err := r.steps()
	if err != nil {
		return nil, err
	}
	byBase := map[string]string{}
	for _, old := range r.previous.Resources {
		byBase[old.Base] = old.Key
	}
	found := map[string]*scripts{}
	for _, s := range steps {
		r.step(s, byBase, found)
	}
	return r.assemble(found, byBase), nil
}

func (r *reader) steps() ([]copyStep, error) {
	name := path.Join(migrationsDir, r.previous.Prefix+"_to_"+r.prefix+".json")
	raw, err := fs.ReadFile(r.tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		r.out.note("there is no %s: what both releases have is taken as unchanged, see what `tms release diff` says", path.Base(name))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var steps []copyStep
	for i, part := range parts {
		if strings.HasPrefix(strings.TrimSpace(string(part)), `"`) {
			continue
		}
		var s copyStep
		if err := json.Unmarshal(part, &s); err != nil {
			return nil, fmt.Errorf("%s, step %d: %w", name, i+1, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// step takes in one step, for one mode or both, and corrects what it does not
// mean.
func (r *reader) step(s copyStep, byBase map[string]string, found map[string]*scripts) {
	at := slices.IndexFunc(r.resources, func(res resource) bool { return res.base == s.Copy.To })
	from, known := byBase[s.Copy.From]
	switch {
	case at < 0:
		r.out.note("step %s to %s: %s has no such index; left out", s.Copy.From, s.Copy.To, r.out.Version)
		return
	case !known:
		r.out.note("step %s to %s: %s has no such index; left out", s.Copy.From, s.Copy.To, r.previous.Version)
		return
	case r.resources[at].static:
		r.out.note("step to %s left out: it is static, the new release's installer fills it", s.Copy.To)
		return
	}
	to := r.resources[at]
	if !s.Copy.Multi && to.partitioning != "" {
		r.out.note("step to %s corrected: its documents would end outside of the %s partitions, under no alias", to.base, to.partitioning)
	}
	x := found[to.key]
	if x == nil {
		x = &scripts{from: from}
		found[to.key] = x
	}
	script := s.Copy.Script
	if s.Copy.Production {
		x.production = &script
	} else {
		x.staging = &script
	}
}

// assemble states something of every resource.
func (r *reader) assemble(found map[string]*scripts, byBase map[string]string) *migration {
	m := &migration{From: r.previous.Version, To: r.out.Version, Steps: map[string]step{}, Gone: map[string]string{}}
	used := map[string]bool{}
	raw := []string{}
	for _, res := range r.resources {
		if res.static {
			continue
		}
		x := found[res.key]
		if x == nil {
			old, ok := byBase[res.base]
			if o, _ := r.previous.Resource(old); !ok || o.Static {
				m.New = append(m.New, res.key)
				continue
			}
			if len(found) > 0 {
				r.out.note("the migration forgets %s, which both releases have: it is copied as it is", res.key)
			}
			x = &scripts{from: old}
		}
		used[x.from] = true
		if old, _ := r.previous.Resource(x.from); old.Partitioning == releases.Monthly && res.partitioning == string(releases.Quarterly) {
			r.out.note("%s: months go to the quarter they belong to, not to that of the day of the upgrade", res.key)
		}
		st := step{Transform: x.ops()}
		if x.from != res.key {
			st.From = x.from
		}
		if len(st.Transform) == 0 && st.From == "" {
			m.Unchanged = append(m.Unchanged, res.key)
			continue
		}
		if len(st.Transform) > 0 {
			raw = append(raw, res.key)
		}
		m.Steps[res.key] = st
	}
	for _, old := range r.previous.Resources {
		if !old.Static && !used[old.Key] {
			m.Gone[old.Key] = "release " + r.out.Version + " does not read it"
		}
	}
	if len(raw) > 0 {
		r.out.note("raw Painless of Tracardi makes %s: rewrite it as operations to have their content proven", strings.Join(raw, ", "))
	}
	if gone := slices.Sorted(maps.Keys(m.Gone)); len(gone) > 0 {
		r.out.note("without a successor: %s", strings.Join(gone, ", "))
	}
	return m
}

// ops are the scripts, for each mode where they differ. A file with one set of
// steps means both.
func (x *scripts) ops() []op {
	if x.staging == nil {
		x.staging = x.production
	}
	if x.production == nil {
		x.production = x.staging
	}
	var out []op
	add := func(script *string, mode string) {
		if script != nil && strings.TrimSpace(*script) != "" {
			out = append(out, op{Op: string(releases.OpPainless), Script: *script, Mode: mode})
		}
	}
	if x.staging == nil || *x.staging == *x.production {
		add(x.staging, "")
		return out
	}
	add(x.staging, releases.InStaging)
	add(x.production, releases.InProduction)
	return out
}
