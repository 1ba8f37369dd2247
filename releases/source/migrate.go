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

// migration takes Tracardi's file into a draft.
func (r *reader) migration(d *releases.Draft) error {
	if r.previous.Prefix == r.prefix {
		r.out.note("a minor release of %s: index names stay, and no document moves", r.previous.Version)
		return nil
	}
	steps, err := r.steps()
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		if err := r.slips(); err != nil {
			return err
		}
	}
	d.Scripts, d.Sources = map[string]map[string]string{}, map[string]string{}
	stated := map[string]bool{}
	for _, s := range steps {
		r.step(s, d, stated)
	}
	for key, byMode := range d.Scripts {
		d.Scripts[key] = together(byMode)
	}
	return r.remarks(d, stated)
}

func (r *reader) steps() ([]copyStep, error) {
	name := path.Join(migrationsDir, r.way()+".json")
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
func (r *reader) step(s copyStep, d *releases.Draft, stated map[string]bool) {
	at := slices.IndexFunc(d.Resources, func(res releases.Resource) bool { return res.Base == s.Copy.To })
	from := slices.IndexFunc(d.Previous.Resources, func(res releases.Resource) bool { return res.Base == s.Copy.From })
	switch {
	case at < 0:
		r.out.note("step %s to %s: %s has no such index; left out", s.Copy.From, s.Copy.To, r.out.Version)
		return
	case d.Resources[at].Static:
		r.out.note("step to %s left out: it is static, the new release's installer fills it", s.Copy.To)
		return
	case from < 0:
		r.out.note("step %s to %s: %s has no such index; left out", s.Copy.From, s.Copy.To, r.previous.Version)
		return
	}
	to := d.Resources[at]
	if !s.Copy.Multi && to.Partitioning != releases.Unpartitioned && !stated[to.Key] {
		r.out.note("step to %s corrected: its documents would end outside of the %s partitions, under no alias", to.Base, to.Partitioning)
	}
	stated[to.Key] = true
	d.Sources[to.Key] = d.Previous.Resources[from].Key
	if d.Scripts[to.Key] == nil {
		d.Scripts[to.Key] = map[string]string{}
	}
	mode := releases.InStaging
	if s.Copy.Production {
		mode = releases.InProduction
	}
	d.Scripts[to.Key][mode] = s.Copy.Script
}

// together makes one script of two that are the same. A file with one set of
// steps means both modes.
func together(byMode map[string]string) map[string]string {
	staging, inStaging := byMode[releases.InStaging]
	production, inProduction := byMode[releases.InProduction]
	switch {
	case !inProduction || staging == production:
		return map[string]string{"": staging}
	case !inStaging:
		return map[string]string{"": production}
	}
	return byMode
}

// remarks says what an operator should look at.
func (r *reader) remarks(d *releases.Draft, stated map[string]bool) error {
	used := map[string]bool{}
	for _, res := range d.Resources {
		if res.Static {
			continue
		}
		from, ok := d.From(res)
		if !ok {
			continue
		}
		used[from.Key] = true
		if len(stated) > 0 && !stated[res.Key] {
			r.out.note("the migration forgets %s, which both releases have: it is copied as it is", res.Key)
		}
		if from.Partitioning == releases.Monthly && res.Partitioning == releases.Quarterly {
			r.out.note("%s: months go to the quarter they belong to, not to that of the day of the upgrade", res.Key)
		}
	}
	var raw, gone []string
	for _, key := range slices.Sorted(maps.Keys(d.Scripts)) {
		if strings.Join(slices.Collect(maps.Values(d.Scripts[key])), "") != "" {
			raw = append(raw, key)
		}
	}
	for _, res := range r.previous.Resources {
		if !res.Static && !used[res.Key] {
			gone = append(gone, res.Key)
		}
	}
	if len(raw) > 0 {
		r.out.note("raw Painless of Tracardi makes %s: rewrite it as operations to have their content proven", strings.Join(raw, ", "))
	}
	if len(gone) == 0 {
		return nil
	}
	r.out.note("without a successor: %s", strings.Join(gone, ", "))
	var err error
	d.Gone, err = r.leftEngine(gone)
	return err
}
