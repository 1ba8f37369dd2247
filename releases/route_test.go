package releases

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// routedBundles route persons: robots go to a resource of their own, of those
// the old ones to a third.
func routedBundles(steps string) map[string]string {
	return map[string]string{
		"1.1/release.yaml":          strings.Replace(smallBundles["1.1/release.yaml"], "  fresh: {base: x-fresh}", "  fresh: {base: x-fresh}\n  robot: {base: x-robot}\n  relic: {base: x-relic}", 1),
		"1.1/mappings/x-robot.yaml": smallBundles["1.1/mappings/x-person.yaml"],
		"1.1/mappings/x-relic.yaml": smallBundles["1.1/mappings/x-person.yaml"],
		"1.1/migration.yaml": `from: "1.0"
to: "1.1"
unchanged: [kept]
new: [fresh]
steps:
` + steps + `gone:
  old: no longer used
`,
	}
}

const routedSteps = `  relic:
    from: person
    examples:
      - {name: old robot, in: {id: r2, mail: m, note: old}, out: {id: r2, mail: {main: m}}}
      - {name: person, in: {id: p}, routed: true}
  person:
    transform:
      - {op: wrap, field: mail, under: main}
      - {op: route, to: robot, when: {field: note, is: present}}
    examples:
      - {name: stays, in: {id: p, mail: m}, out: {id: p, mail: {main: m}}}
      - {name: goes, in: {id: r, note: x}, routed: true}
  robot:
    from: person
    transform:
      - {op: route, to: relic, when: {field: note, equals: old}}
      - {op: remove, field: note}
    drops:
      - {field: note, reason: it is a robot anyway}
    examples:
      - {name: robot, in: {id: r, mail: m, note: x}, out: {id: r, mail: {main: m}}}
`

func TestRoutes(t *testing.T) {
	t.Parallel()
	// relic has to get rid of the note as well: what robot does behind the
	// route is not done for it.
	relic := strings.Replace(routedSteps, "    examples:\n      - {name: old robot", "    transform:\n      - {op: remove, field: note}\n    drops:\n      - {field: note, reason: everybody knows}\n    examples:\n      - {name: old robot", 1)
	person := strings.Replace(relic, "      - {op: route, to: robot, when: {field: note, is: present}}\n", "      - {op: route, to: robot, when: {field: note, is: present}}\n      - {op: remove, field: note}\n    drops:\n      - {field: note, reason: nobody reads it}\n", 1)
	c, err := Load(bundlesWith(routedBundles(person)))
	require.NoError(t, err)
	r, err := c.Get("1.1")
	require.NoError(t, err)
	for _, x := range r.Migration.Try() {
		require.Empty(t, x.Fault, "%s: %s", x.Resource, x.Name)
	}
	// Every document belongs into exactly one.
	for _, raw := range []string{`{}`, `{"note": null}`, `{"note": "old"}`, `{"note": ["x", "old"]}`, `{"note": "x", "mail": "m"}`, `{"note": {}}`} {
		var takers []string
		for _, key := range []string{"person", "robot", "relic"} {
			doc, err := DecodeDoc(json.RawMessage(raw))
			require.NoError(t, err)
			require.True(t, r.Migration.Steps[key].Transform.Routed(), key)
			err = r.Migration.Steps[key].Transform.Apply(doc)
			if !errors.Is(err, ErrElsewhere) {
				require.NoError(t, err)
				takers = append(takers, key)
			}
		}
		require.Len(t, takers, 1, raw)
	}
	require.Len(t, r.Migration.Steps["robot"].Transform.Routes(), 1)
	require.Equal(t, "note is old", r.Migration.Steps["robot"].Transform.Routes()[0].When.String())

	for name, one := range map[string]struct{ steps, problem string }{
		"no such step":     {"  person:\n    transform:\n      - {op: route, to: nobody, when: {field: note, is: present}}\n", "routes to nobody, which has no step"},
		"no condition":     {"  person:\n    transform:\n      - {op: route, to: robot}\n", "needs a condition"},
		"one mode":         {"  person:\n    transform:\n      - {op: route, to: robot, mode: staging, when: {field: note, is: present}}\n", "cannot be of one mode"},
		"a circle":         {strings.Replace(routedSteps, "    from: person\n    examples", "    from: person\n    transform:\n      - {op: route, to: person, when: {field: mail, is: absent}}\n    examples", 1), "circle"},
		"of another":       {strings.Replace(routedSteps, "  robot:\n    from: person", "  robot:\n    from: kept", 1), "both must come from person"},
		"takes all":        {"  person:\n    transform:\n      - {op: route, to: robot, when: {field: note, is: present}}\n  robot:\n    from: person\n  relic:\n    from: person\n", "takes all documents of person"},
		"Painless as well": {strings.Replace(routedSteps, "      - {op: wrap, field: mail, under: main}\n", "      - {op: painless, script: ctx._source.x = 1}\n", 1), "raw Painless"},
		"lost field":       {routedSteps, "note"},
	} {
		_, err := Load(bundlesWith(routedBundles(one.steps)))
		require.ErrorContains(t, err, one.problem, name)
	}
}
