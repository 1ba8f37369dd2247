package backups

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kind is the kind of a snapshot repository, as the engines name it.
type Kind string

// Kinds of repositories.
const (
	KindFS    Kind = "fs"  // a directory that all nodes share: local, NAS
	KindURL   Kind = "url" // read-only
	KindS3    Kind = "s3"
	KindAzure Kind = "azure"
	KindGCS   Kind = "gcs"
)

// Repository is a place where the engine keeps snapshots. Settings never hold
// secrets: those belong in the keystore of the engine's nodes.
type Repository struct {
	Name     string
	Cluster  string // that it belongs to; "" is the default one
	Kind     Kind
	Settings map[string]string
	ReadOnly bool

	CreatedBy  string
	CreatedAt  time.Time
	VerifiedAt time.Time // last successful verification; zero for none
	// Problem is why the last verification failed, "" when it did not.
	Problem string
	// Nodes took part in the last verification.
	Nodes []string
}

// Writable says whether snapshots can be taken into it.
func (r Repository) Writable() bool { return !r.ReadOnly && r.Kind != KindURL }

// repositoryName is what both engines and a shell take without quoting.
var repositoryName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// kind is what a kind of repository needs.
type kindRule struct {
	needs  []string // settings without which it cannot work
	plugin string   // that every node needs; "" when the engine brings it
	// secrets says where credentials belong.
	secrets string
}

var kindRules = map[Kind]kindRule{
	KindFS:    {needs: []string{"location"}},
	KindURL:   {needs: []string{"url"}},
	KindS3:    {needs: []string{"bucket"}, plugin: "repository-s3", secrets: "s3.client.default.access_key and s3.client.default.secret_key"},
	KindAzure: {needs: []string{"container"}, plugin: "repository-azure", secrets: "azure.client.default.account and azure.client.default.key"},
	KindGCS:   {needs: []string{"bucket"}, plugin: "repository-gcs", secrets: "gcs.client.default.credentials_file"},
}

// Kinds lists the kinds, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(kindRules)) }

// Plugin is what every node needs for the kind, "" for nothing.
func (k Kind) Plugin() string { return kindRules[k].plugin }

// secretSetting matches names of settings that carry credentials.
var secretSetting = regexp.MustCompile(`(?i)(secret|password|passwd|token|credential|access_key|account_key|sas|^key$|_key$|private)`)

// notSecret are settings whose names merely look like it.
var notSecret = []string{"base_path", "server_side_encryption"}

// Check says what is wrong with a repository before any engine is asked.
func (r Repository) Check() error {
	if !repositoryName.MatchString(r.Name) {
		return invalid("name", "use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit", "%q is no name for a repository", short(r.Name))
	}
	rule, known := kindRules[r.Kind]
	if !known {
		return invalid("kind", "use one of "+joinKinds(), "%q is no kind of repository", short(string(r.Kind)))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		if secretSetting.MatchString(name) && !slices.Contains(notSecret, name) {
			where := "the engine's keystore"
			if rule.secrets != "" {
				where += " (" + rule.secrets + ")"
			}
			return invalid("settings."+name, "put it into "+where+" on every node, and leave it out here", "carries a secret: TMS neither stores nor passes secrets")
		}
		if strings.Contains(r.Settings[name], "@") && strings.Contains(r.Settings[name], "://") {
			return invalid("settings."+name, "leave user and password out of the address", "holds credentials in an address")
		}
	}
	for _, name := range rule.needs {
		if strings.TrimSpace(r.Settings[name]) == "" {
			return invalid("settings."+name, fmt.Sprintf("give it: a repository of kind %s needs %s", r.Kind, strings.Join(rule.needs, ", ")), "is missing")
		}
	}
	if r.Kind == KindFS && !path.IsAbs(r.Settings["location"]) {
		return invalid("settings.location", "give the absolute path at which every node sees the directory", "%q is not an absolute path", short(r.Settings["location"]))
	}
	return nil
}

func joinKinds() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Node is a node of the cluster as far as repositories concern it.
type Node struct {
	ID, Name string
	// PathRepo are the directories below which repositories may lie (fs).
	PathRepo []string
	Plugins  []string // and modules
}

// outside names the nodes whose path.repo does not cover a location.
func outside(nodes []Node, location string) (names []string) {
	for _, n := range nodes {
		if !slices.ContainsFunc(n.PathRepo, func(root string) bool { return within(root, location) }) {
			names = append(names, n.Name)
		}
	}
	return names
}

func within(root, location string) bool {
	root, location = path.Clean(root), path.Clean(location)
	return location == root || strings.HasPrefix(location, strings.TrimSuffix(root, "/")+"/")
}

// lacking names the nodes without a plugin.
func lacking(nodes []Node, plugin string) (names []string) {
	for _, n := range nodes {
		if !slices.Contains(n.Plugins, plugin) {
			names = append(names, n.Name)
		}
	}
	return names
}

// short bounds what an error quotes of a caller's value.
func short(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
