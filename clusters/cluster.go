// Package clusters knows the search clusters in which tenants live: how each is
// reached, how full it is, and where a new tenant goes. It is a domain: how
// clusters are stored and asked is said by the interfaces in ports.go.
package clusters

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// MaxClusters that can be named beside the default one.
const MaxClusters = 63

// Default is the name of the cluster that the settings of TMS lead to.
const Default = tenants.DefaultCluster

// maxName is that of a label, which a cluster's name may become.
const maxName = 63

// Cluster is a search cluster.
type Cluster struct {
	Name     string
	URLs     []string // without credentials
	Username string
	Secret   string // password, or encoded API key with APIKey
	APIKey   bool
	// SecretUnreadable says that the stored secret cannot be opened with the
	// SECRET in force.
	SecretUnreadable bool
	CACert           string // PEM; "" for the system's authorities
	Fingerprint      string // SHA-256 in hex, lower case, no colons
	// Builtin is the default cluster: no row, and no change.
	Builtin bool

	// Identity is what it said of itself when it answered last, at VerifiedAt.
	Identity
	VerifiedAt time.Time
	Problem    string // why it did not answer when asked last

	Tenants   int // that live there, purged ones left out
	CreatedBy string
	CreatedAt time.Time
	UpdatedAt time.Time
	Revision  int64 // grows with every change of any cluster
}

// Identity is who a cluster says it is.
type Identity struct{ Product, Version, ClusterUUID, ClusterName string }

func identityOf(i upgrader.EngineInfo) Identity {
	return Identity{i.Product, i.Version, i.ClusterUUID, i.ClusterName}
}

// Etag identifies the stored version of the cluster (AIP-154).
func (c *Cluster) Etag() string { return strconv.FormatInt(c.Revision, 36) }

// Auth is how TMS logs in: "none", "password" or "api_key".
func (c *Cluster) Auth() string {
	switch {
	case c.APIKey:
		return "api_key"
	case c.Username != "":
		return "password"
	}
	return "none"
}

var (
	namePattern        = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Check says all that is wrong with the values an operator gave. No message
// holds a secret, nor a URL that may hold one.
func (c *Cluster) Check() error {
	var wrong []tenants.Violation
	add := func(field, format string, args ...any) {
		wrong = append(wrong, tenants.Violation{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case c.Name == Default:
		add("name", "%q is the cluster of the settings TMS_ELASTIC_*", Default)
	case len(c.Name) > maxName || !namePattern.MatchString(c.Name):
		add("name", "%.80q is not a name of up to %d of a-z, 0-9 and -, beginning with a letter", c.Name, maxName)
	}
	if len(c.URLs) == 0 {
		add("urls", "is empty; name at least one node, https://host:9200")
	}
	encrypted := true
	for i, raw := range c.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			add("urls", "number %d is not http://host:port or https://host:port", i+1)
		case u.User != nil:
			add("urls", "number %d holds credentials: give them as username and password, which are stored encrypted", i+1)
		case u.RawQuery != "" || u.Fragment != "":
			add("urls", "number %d must end after the path", i+1)
		case u.Scheme == "http":
			encrypted = false
		}
	}
	if c.Username != "" && c.APIKey {
		add("api_key", "goes without a username: give one or the other")
	}
	if (c.Username == "") != (c.Secret == "") && !c.APIKey {
		add("password", "username and password go together")
	}
	if c.Fingerprint != "" {
		if !fingerprintPattern.MatchString(c.Fingerprint) {
			add("fingerprint", "is not a SHA-256 fingerprint of 64 hexadecimal digits")
		}
		if !encrypted {
			add("fingerprint", "needs https in every url")
		}
	}
	if c.CACert != "" && !strings.Contains(c.CACert, "-----BEGIN CERTIFICATE-----") {
		add("ca_cert", "holds no PEM certificate")
	}
	if c.CACert != "" && c.Fingerprint != "" {
		add("fingerprint", "is trusted instead of ca_cert: give one or the other")
	}
	return invalid(wrong...)
}

// invalid is nil without violations.
func invalid(wrong ...tenants.Violation) error {
	if len(wrong) == 0 {
		return nil
	}
	text := make([]string, len(wrong))
	for i, v := range wrong {
		text[i] = v.Message
		if i > 0 {
			text[i] = v.Field + ": " + v.Message
		}
	}
	return &tenants.Error{Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: wrong[0].Field, Message: strings.Join(text, "; "), Violations: wrong}
}

// tidy brings values into the form in which they are stored.
func (c *Cluster) tidy() {
	c.Name = strings.TrimSpace(c.Name)
	for i := range c.URLs {
		c.URLs[i] = strings.TrimRight(strings.TrimSpace(c.URLs[i]), "/")
	}
	c.Fingerprint = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(c.Fingerprint), ":", ""))
	c.CACert = strings.TrimSpace(c.CACert)
}

// Reasons of this package's errors; the rest of them is *tenants.Error's.
const (
	ReasonExists      tenants.Reason = "CLUSTER_EXISTS"
	ReasonInUse       tenants.Reason = "CLUSTER_IN_USE"
	ReasonUnreachable tenants.Reason = "CLUSTER_UNREACHABLE"
	ReasonOther       tenants.Reason = "CLUSTER_DIFFERS"
	ReasonFull        tenants.Reason = "CLUSTERS_FULL"
)

// NotFoundError is the refusal of a name that is not registered.
func NotFoundError(name string) error {
	return &tenants.Error{Code: tenants.CodeNotFound, Reason: tenants.ReasonClusterNotFound, Field: "cluster", Message: fmt.Sprintf("%.80q is not registered", name), Remedy: "see `tms cluster list`"}
}

// ExistsError is the refusal of a name that is taken.
func ExistsError(name string) error {
	return &tenants.Error{Code: tenants.CodeAlreadyExists, Reason: ReasonExists, Field: "name", Message: fmt.Sprintf("cluster %q is registered already", name), Remedy: "change it with `tms cluster update " + name + "`, or choose another name"}
}

// TwiceError is the refusal of an engine that has a name already.
func TwiceError(name string) error {
	return &tenants.Error{Code: tenants.CodeAlreadyExists, Reason: ReasonExists, Field: "urls", Message: fmt.Sprintf("they lead to the cluster that is registered as %q", name), Remedy: "use that name: under two names it would have two budgets"}
}

func builtinError() error {
	return &tenants.Error{Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState, Field: "name", Message: "the cluster default is that of the settings TMS_ELASTIC_*", Remedy: "change them and restart TMS"}
}

func unreachable(err error) error {
	return &tenants.Error{Code: tenants.CodeFailedPrecondition, Reason: ReasonUnreachable, Field: "urls", Message: "the cluster does not answer as it should: " + err.Error(), Remedy: "check addresses, credentials and certificates; nothing was changed", Err: err}
}
