package clusters

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
)

// askLimit bounds the question to a cluster who it is.
const askLimit = 10 * time.Second

// Config is what a Service is made of.
type Config struct {
	Store     Store
	Engines   Engines
	Catalogue Catalogue
	// Home is the default cluster as the settings say it, without secrets.
	Home Cluster
	Now  func() time.Time // nil is time.Now
}

// Service names clusters and tells how full they are. It is safe for
// concurrent use and keeps nothing between calls.
type Service struct {
	store     Store
	engines   Engines
	catalogue Catalogue
	builtin   Cluster
	now       func() time.Time
}

// NewService wires a Service.
func NewService(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Home.Name, c.Home.Builtin = Default, true
	return &Service{store: c.Store, engines: c.Engines, catalogue: c.Catalogue, builtin: c.Home, now: c.Now}
}

func (s *Service) audit(c tenants.Caller, action, name string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: s.at(), Caller: c, Action: action, Subject: "cluster/" + name, Detail: detail}
}

func (s *Service) at() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// shown is what the audit trail keeps of a cluster: no secret.
func (c *Cluster) shown() map[string]any {
	return map[string]any{
		"urls": c.URLs, "username": c.Username, "auth": c.Auth(), "fingerprint": c.Fingerprint, "ca_cert": c.CACert != "",
		"product": c.Product, "version": c.Version, "cluster_uuid": c.ClusterUUID,
	}
}

// Add registers a cluster after it has answered. dry changes nothing.
func (s *Service) Add(ctx context.Context, caller tenants.Caller, c *Cluster, dry bool) (*Cluster, error) {
	c.tidy()
	if err := c.Check(); err != nil {
		return nil, err
	}
	all, err := s.store.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(o *Cluster) bool { return o.Name == c.Name }) {
		return nil, ExistsError(c.Name)
	}
	id, err := s.ask(ctx, c)
	if err != nil {
		return nil, unreachable(err)
	}
	if err := s.unknown(ctx, c.Name, id, all); err != nil {
		return nil, err
	}
	now := s.at()
	c.Identity, c.VerifiedAt, c.CreatedBy, c.CreatedAt, c.UpdatedAt = id, now, caller.KeyID, now, now
	if dry {
		return c, nil
	}
	return s.store.CreateCluster(ctx, c, s.audit(caller, "cluster.add", c.Name, map[string]any{"after": c.shown()}))
}

// ask asks a cluster, registered or not, who it is.
func (s *Service) ask(ctx context.Context, c *Cluster) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	engine, end, err := s.engines.Try(ctx, c)
	if err != nil {
		return Identity{}, err
	}
	defer end()
	info, err := engine.Info(ctx)
	return identityOf(info), err
}

// askBuiltin asks the default cluster who it is.
func (s *Service) askBuiltin(ctx context.Context) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	engine, err := s.engines.Reach(ctx, Default)
	if err != nil {
		return Identity{}, err
	}
	info, err := engine.Info(ctx)
	return identityOf(info), err
}

// unknown refuses an engine that has another name already.
func (s *Service) unknown(ctx context.Context, name string, id Identity, all []*Cluster) error {
	for _, o := range all {
		if o.Name != name && o.ClusterUUID == id.ClusterUUID {
			return TwiceError(o.Name)
		}
	}
	// A default cluster that is down cannot be compared; Verify says it later.
	if home, err := s.askBuiltin(ctx); err == nil && home.ClusterUUID == id.ClusterUUID {
		return TwiceError(Default)
	}
	return nil
}

// Get returns a cluster.
func (s *Service) Get(ctx context.Context, name string) (*Cluster, error) {
	if name == Default {
		all, err := s.List(ctx)
		if err != nil {
			return nil, err
		}
		return all[0], nil
	}
	c, err := s.store.Cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	population, err := s.store.Population(ctx)
	if err != nil {
		return nil, err
	}
	c.Tenants = population[name]
	return c, nil
}

// List returns all clusters, the default one first, then by name. The default
// one is asked who it is, the others are as they were verified last.
func (s *Service) List(ctx context.Context) ([]*Cluster, error) {
	all, err := s.store.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	home := s.builtin
	home.URLs = slices.Clone(home.URLs)
	if home.Identity, err = s.askBuiltin(ctx); err != nil {
		home.Problem = err.Error()
	} else {
		home.VerifiedAt = s.at()
	}
	all = append([]*Cluster{&home}, all...)
	population, err := s.store.Population(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		c.Tenants = population[c.Name]
	}
	return all, nil
}

// Update names the fields to change.
type Update struct {
	Cluster *Cluster
	Etag    string // the stored one, or tenants.AnyEtag
	Mask    []string
}

// setters copy one field each; the keys are the names in the contract.
var setters = map[string]func(dst, src *Cluster){
	"urls":        func(d, s *Cluster) { d.URLs = slices.Clone(s.URLs) },
	"username":    func(d, s *Cluster) { d.Username = s.Username },
	"password":    func(d, s *Cluster) { d.Secret, d.APIKey = s.Secret, false },
	"api_key":     func(d, s *Cluster) { d.Secret, d.APIKey, d.Username = s.Secret, s.Secret != "", "" },
	"ca_cert":     func(d, s *Cluster) { d.CACert = s.CACert },
	"fingerprint": func(d, s *Cluster) { d.Fingerprint = s.Fingerprint },
}

// Update changes a cluster after it has answered under the new values. Tenants
// stay where they are: while some live there, values that lead to another
// cluster are refused.
func (s *Service) Update(ctx context.Context, caller tenants.Caller, u Update) (*Cluster, error) {
	name := u.Cluster.Name
	if name == Default {
		return nil, builtinError()
	}
	for _, f := range u.Mask {
		if setters[f] == nil {
			return nil, invalid(tenants.Violation{Field: "update_mask", Message: fmt.Sprintf("%.80q cannot be changed; fields that can: api_key, ca_cert, fingerprint, password, urls, username", f)})
		}
	}
	if len(u.Mask) == 0 {
		return nil, invalid(tenants.Violation{Field: "update_mask", Message: "is empty; name the fields to change"})
	}
	now, err := s.store.Cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	etag := now.Etag()
	if u.Etag != tenants.AnyEtag && u.Etag != etag {
		return nil, changedError(name, etag, u.Etag)
	}
	before := now.shown()
	for _, f := range u.Mask {
		setters[f](now, u.Cluster)
	}
	now.tidy()
	if err := now.Check(); err != nil {
		return nil, err
	}
	id, err := s.ask(ctx, now)
	if err != nil {
		return nil, unreachable(err)
	}
	if err := s.same(ctx, now, id); err != nil {
		return nil, err
	}
	now.Identity, now.VerifiedAt, now.Problem, now.UpdatedAt = id, s.at(), "", s.at()
	a := s.audit(caller, "cluster.update", name, map[string]any{"fields": u.Mask, "before": before, "after": now.shown()})
	_, err = s.store.ChangeCluster(ctx, name, a, func(c *Cluster) error {
		if c.Etag() != etag {
			return changedError(name, c.Etag(), etag)
		}
		*c = *now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, name)
}

// same refuses an identity that is not the stored one while tenants live there,
// and one that has another name.
func (s *Service) same(ctx context.Context, c *Cluster, id Identity) error {
	if c.ClusterUUID == id.ClusterUUID {
		return nil
	}
	population, err := s.store.Population(ctx)
	if err != nil {
		return err
	}
	if n := population[c.Name]; n > 0 && c.ClusterUUID != "" {
		return &tenants.Error{
			Code: tenants.CodeFailedPrecondition, Reason: ReasonOther, Field: "urls",
			Message: fmt.Sprintf("they lead to cluster %s (%s), but %d tenants live in %s (%s)", id.ClusterName, id.ClusterUUID, n, c.ClusterName, c.ClusterUUID),
			Remedy:  "add it under a name of its own; TMS does not move tenants between clusters",
		}
	}
	all, err := s.store.Clusters(ctx)
	if err != nil {
		return err
	}
	return s.unknown(ctx, c.Name, id, all)
}

func changedError(name, stored, sent string) error {
	if sent == "" {
		return &tenants.Error{Code: tenants.CodeInvalid, Reason: tenants.ReasonEtagRequired, Field: "etag", Message: "is required, so that nobody overwrites what he has not seen", Remedy: "send the etag that you have read, or * to change whatever is stored"}
	}
	return &tenants.Error{
		Code: tenants.CodeConflict, Reason: tenants.ReasonEtagMismatch, Field: "etag", Message: fmt.Sprintf("cluster %q was changed meanwhile: etag is %q, not %.80q", name, stored, sent),
		Remedy: "read it again and repeat the change", Metadata: map[string]string{"etag": stored},
	}
}

// Remove forgets a cluster.
func (s *Service) Remove(ctx context.Context, caller tenants.Caller, name string) error {
	if name == Default {
		return builtinError()
	}
	c, err := s.store.Cluster(ctx, name)
	if err != nil {
		return err
	}
	return s.store.DeleteCluster(ctx, name, s.audit(caller, "cluster.remove", name, map[string]any{"before": c.shown()}))
}

// InUseError says what keeps a cluster from being removed; each is a sentence.
func InUseError(name string, why []string) error {
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: ReasonInUse, Field: "name",
		Message: fmt.Sprintf("cluster %q is in use: %s", name, strings.Join(why, "; ")),
		Remedy:  "purge its tenants (`tms tenant list --filter cluster:" + name + "`) and remove its repositories (`tms backup repo list`) first",
	}
}

// Verify asks a cluster who it is and keeps the answer. One that does not
// answer is returned with its Problem; an error means that nothing is known.
func (s *Service) Verify(ctx context.Context, name string) (*Cluster, error) {
	if name == Default {
		return s.Get(ctx, name)
	}
	c, err := s.store.Cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	id, err := s.ask(ctx, c)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		c.Problem = err.Error()
	case c.ClusterUUID != "" && id.ClusterUUID != c.ClusterUUID:
		c.Problem = fmt.Sprintf("the addresses lead to another cluster now: %s (%s) instead of %s (%s)", id.ClusterName, id.ClusterUUID, c.ClusterName, c.ClusterUUID)
	default:
		c.Identity, c.VerifiedAt, c.Problem = id, s.at(), ""
	}
	if err := s.store.SaveVerdict(ctx, c); err != nil {
		return nil, err
	}
	return s.Get(ctx, name)
}
