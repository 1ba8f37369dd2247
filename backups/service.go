package backups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Service is what operators ask for. It is safe for concurrent use; what takes
// time is left to workers.
type Service struct {
	store     Store
	engine    Engine
	engines   Engines // nil: there is one cluster
	catalogue Catalogue
	now       func() time.Time
}

// NewService wires a Service. now may be nil.
func NewService(store Store, engine Engine, c Catalogue, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, engine: engine, catalogue: c, now: now}
}

func (s *Service) audit(c tenants.Caller, action, subject string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: s.now().UTC().Truncate(time.Microsecond), Caller: c, Action: action, Subject: subject, Detail: detail}
}

// engineError is what a caller sees of an engine that cannot.
func engineError(err error) error {
	var known *Error
	var e *upgrader.EngineError
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), !errors.As(err, &e):
		return err
	case e.Status == 0:
		return &Error{Reason: ReasonEngine, Message: e.Error(), Remedy: "check TMS_ELASTIC_URLS and the cluster's health, then try again", Err: err}
	}
	return &Error{Reason: ReasonRepository, Message: e.Error(), Remedy: "the words are the search engine's; see its log", Err: err}
}

// PutRepository registers a repository, or changes one, and verifies that all
// nodes can use it. What does not verify is not kept.
func (s *Service) PutRepository(ctx context.Context, c tenants.Caller, r Repository) (*Repository, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if r.Kind == KindURL {
		r.ReadOnly = true
	}
	if err := s.settled(ctx, &r); err != nil {
		return nil, err
	}
	s, err := s.in(ctx, r.Cluster)
	if err != nil {
		return nil, err
	}
	before, err := s.standingRepository(ctx, r)
	if err != nil {
		return nil, err
	}
	nodes, err := s.engine.Nodes(ctx)
	if err != nil {
		return nil, engineError(err)
	}
	if r.Kind == KindFS {
		if names := outside(nodes, r.Settings["location"]); len(names) > 0 {
			return nil, refused("the repository cannot be registered", []Refusal{{
				Code: "path_not_allowed", Message: fmt.Sprintf("location %s is not below path.repo of %s", r.Settings["location"], strings.Join(names, ", ")),
				Remedy: "add the directory to path.repo in the configuration of these nodes and restart them",
			}})
		}
	}
	if err := s.engine.PutRepository(ctx, r); err != nil {
		return nil, registrationError(err, r, nodes)
	}
	r.CreatedBy, r.CreatedAt = c.KeyID, s.now().UTC().Truncate(time.Microsecond)
	if err := s.verify(ctx, &r); err != nil {
		return nil, errors.Join(err, s.putBack(ctx, r.Name, before))
	}
	err = s.store.PutRepository(ctx, r, s.audit(c, "backup.repository", "repository/"+r.Name, map[string]any{"cluster": r.Cluster, "kind": r.Kind, "settings": r.Settings, "read_only": r.ReadOnly}))
	if err != nil {
		return nil, err
	}
	return s.Repository(ctx, r.Name)
}

// standingRepository is what the engine has under the name, nil for nothing.
// One that is not ours is taken over only when it is the same.
func (s *Service) standingRepository(ctx context.Context, r Repository) (*Repository, error) {
	all, err := s.engine.Repositories(ctx)
	if err != nil {
		return nil, engineError(err)
	}
	i := slices.IndexFunc(all, func(o Repository) bool { return o.Name == r.Name })
	if i < 0 {
		return nil, nil
	}
	found := all[i]
	delete(found.Settings, "readonly")
	if _, err := s.store.Repository(ctx, r.Name); err == nil {
		return &found, nil
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if found.Kind != r.Kind || !maps.Equal(found.Settings, r.Settings) {
		return nil, refused("the repository cannot be registered", []Refusal{{
			Code: "repository_exists", Message: fmt.Sprintf("the cluster has another repository %s, of kind %s", r.Name, found.Kind),
			Remedy: "choose another name, or give the same kind and settings to take it over",
		}})
	}
	return &found, nil
}

// putBack undoes a registration that did not verify.
func (s *Service) putBack(ctx context.Context, name string, before *Repository) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if before == nil {
		return s.engine.DeleteRepository(ctx, name)
	}
	return s.engine.PutRepository(ctx, *before)
}

// registrationError names the nodes that lack a plugin.
func registrationError(err error, r Repository, nodes []Node) error {
	var e *upgrader.EngineError
	if !errors.As(err, &e) || e.Status == 0 {
		return engineError(err)
	}
	refusal := Refusal{Code: "repository_refused", Message: e.Reason, Remedy: "correct the settings; the words are the search engine's"}
	if strings.Contains(e.Reason, "does not exist") {
		refusal = Refusal{Code: "plugin_missing", Message: fmt.Sprintf("the cluster knows no repositories of kind %s", r.Kind), Remedy: "use another kind"}
		if plugin := r.Kind.Plugin(); plugin != "" {
			refusal.Message += ": " + plugin + " is not installed on " + strings.Join(lacking(nodes, plugin), ", ")
			refusal.Remedy = "install the plugin " + plugin + " on every node and restart it"
		}
	}
	return &Error{Reason: ReasonRefused, Message: "the repository cannot be registered", Refusals: []Refusal{refusal}, Err: err}
}

// verify has every node use the repository. A read-only one is read.
func (s *Service) verify(ctx context.Context, r *Repository) error {
	var err error
	if r.Writable() {
		r.Nodes, err = s.engine.VerifyRepository(ctx, r.Name)
	} else {
		_, err = s.engine.ListSnapshots(ctx, r.Name)
		r.Nodes = nil
	}
	var failed *VerifyError
	switch {
	case err == nil:
		r.VerifiedAt, r.Problem = s.now().UTC().Truncate(time.Microsecond), ""
		return nil
	case errors.Is(err, ErrNotFound):
		return refused("the repository does not verify", []Refusal{{
			Code: "repository_missing", Message: "the cluster does not know the repository " + r.Name + " any more", Remedy: "register it again with `tms backup repo add`",
		}})
	case !errors.As(err, &failed):
		return engineError(err)
	}
	var all []Refusal
	for _, node := range slices.Sorted(maps.Keys(failed.Nodes)) {
		all = append(all, Refusal{Code: "verification_failed", Message: "node " + node + ": " + failed.Nodes[node], Remedy: "give the node access to the repository; every node must see the same files"})
	}
	if len(all) == 0 {
		all = []Refusal{{Code: "verification_failed", Message: failed.Message, Remedy: "give every node access to the repository"}}
	}
	return refused("the repository does not verify", all)
}

// VerifyRepository verifies a registered repository again and keeps the
// outcome.
func (s *Service) VerifyRepository(ctx context.Context, c tenants.Caller, name string) (*Repository, error) {
	r, err := s.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	if s, err = s.in(ctx, r.Cluster); err != nil {
		return nil, err
	}
	verr := s.verify(ctx, r)
	if HasReason(verr, ReasonEngine) {
		return nil, verr // says nothing about the repository
	}
	if verr != nil {
		r.Problem = verr.Error()
	}
	if err := s.store.PutRepository(ctx, *r, s.audit(c, "backup.verify", "repository/"+name, map[string]any{"problem": r.Problem})); err != nil {
		return nil, err
	}
	if verr != nil {
		return nil, verr
	}
	return s.Repository(ctx, name)
}

// Repository returns one.
func (s *Service) Repository(ctx context.Context, name string) (*Repository, error) {
	r, err := s.store.Repository(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound("repository", "see `tms backup repo list`", "%q is not registered", short(name))
	}
	return r, err
}

// Repositories lists them, sorted by name.
func (s *Service) Repositories(ctx context.Context) ([]Repository, error) {
	return s.store.Repositories(ctx)
}

// RemoveRepository forgets a repository, here and in the engine. Nothing in it
// is deleted.
func (s *Service) RemoveRepository(ctx context.Context, c tenants.Caller, name string) error {
	r, err := s.Repository(ctx, name)
	if err != nil {
		return err
	}
	if s, err = s.in(ctx, r.Cluster); err != nil {
		return err
	}
	err = s.store.DeleteRepository(ctx, name, s.audit(c, "backup.repository_removed", "repository/"+name, nil))
	if errors.Is(err, ErrConflict) {
		return &Error{Reason: ReasonWrongState, Field: "repository", Message: fmt.Sprintf("%q is in use: a snapshot or a restore runs, or a policy writes into it", name), Remedy: "wait for its end, see `tms backup list` and `tms backup policy list`", Err: err}
	}
	if err != nil {
		return err
	}
	return engineError(s.engine.DeleteRepository(ctx, name))
}
