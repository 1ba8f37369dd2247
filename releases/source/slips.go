package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// What Tracardi's own code gets wrong about a migration, as far as it is known.
// A bundle does not have the slip either way: TMS looks for partitions itself,
// and takes the file that is named after the way. It is said, because who has
// run Tracardi's migration wants to know what it has left behind.

// managerFile chooses migration files and partitions.
const managerFile = "tracardi/process_engine/migration/migration_manager.py"

// slips says what the tree's own migration would do wrong on the way here.
func (r *reader) slips() error {
	err := with(r.tree, managerFile, func(p *python) error {
		if line := p.literalInterpolation(); line > 0 {
			r.out.note("Tracardi's own migration finds no partition at all (%s line %d: a count in braces, within a formatted text): here every partition moves", path.Base(managerFile), line)
		}
		chosen, ok := p.chosenFor("available_migrations", r.previous.Prefix, r.prefix)
		if ok && chosen != r.way() && r.has(path.Join(migrationsDir, r.way()+".json")) {
			r.out.note("Tracardi's own migration takes %s.json for this way: corrected, %s.json is taken", chosen, r.way())
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// way names the migration file of the way to this release.
func (r *reader) way() string { return r.previous.Prefix + "_to_" + r.prefix }

func (r *reader) has(name string) bool {
	_, err := fs.Stat(r.tree, name)
	return err == nil
}

// tablesDir is where trees that keep data in MySQL describe its tables.
const tablesDir = "tracardi/service/storage/mysql/schema"

// tables are the names of the MySQL tables that a tree describes.
func (r *reader) tables() ([]string, error) {
	files, err := fs.Glob(r.tree, tablesDir+"/*.py")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range files {
		err := with(r.tree, name, func(p *python) error {
			out = append(out, p.texts("__tablename__")...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// leftEngine says of resources without a successor where the release keeps
// them, when it keeps data in MySQL: nothing of it is carried there.
func (r *reader) leftEngine(gone []string) (reasons map[string]string, err error) {
	tables, err := r.tables()
	if err != nil || len(tables) == 0 {
		return nil, err
	}
	reasons = map[string]string{}
	var moved, others []string
	for _, key := range gone {
		if table := strings.ReplaceAll(key, "-", "_"); slices.Contains(tables, table) {
			moved = append(moved, key)
			reasons[key] = fmt.Sprintf("release %s keeps it in the MySQL table %s, which TMS does not fill: take it over with Tracardi's own tools", r.out.Version, table)
			continue
		}
		others = append(others, key)
		reasons[key] = fmt.Sprintf("release %s has no index for it; if it keeps it in MySQL under another name, TMS does not fill that", r.out.Version)
	}
	if len(moved) > 0 {
		r.out.note("in MySQL from this release on, where TMS puts nothing: %s", strings.Join(moved, ", "))
	}
	if len(others) > 0 {
		r.out.note("no index, and no MySQL table of the same name: %s", strings.Join(others, ", "))
	}
	return reasons, nil
}
