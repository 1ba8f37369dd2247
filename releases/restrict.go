package releases

import "slices"

// Restrict returns a catalogue whose releases have only the resources with
// the given keys, and what becomes of them: a small fleet for tests and
// rehearsals that otherwise behaves like the real one. Keys are followed
// through migrations that rename them. Releases keep their digests with a
// mark, so that no proof taken with a part is held for one of the whole.
func (c *Catalogue) Restrict(keys ...string) *Catalogue {
	var out []*Release
	kept := map[string]bool{}
	for _, k := range keys {
		kept[k] = true
	}
	for _, r := range c.releases() {
		small := *r
		if r.Migration != nil {
			m := &Migration{From: r.Migration.From, To: r.Migration.To, Steps: map[string]Step{}, Gone: map[string]string{}}
			for key, step := range r.Migration.Steps {
				if kept[step.From] {
					m.Steps[key] = step
					kept[key] = true
				}
			}
			for key, why := range r.Migration.Gone {
				if kept[key] {
					m.Gone[key] = why
				}
			}
			small.Migration = m
		}
		small.Digest = "part:" + r.Digest
		small.Resources = slices.DeleteFunc(slices.Clone(r.Resources), func(res Resource) bool { return !kept[res.Key] })
		out = append(out, &small)
	}
	return newCatalogue(out)
}
