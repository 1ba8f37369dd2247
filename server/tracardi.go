package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/tenants"
)

// tracardi serves the routes that Tracardi containers and the programs around
// them know. They are plain handlers over the registry: a container asks for
// every request of its own, and the gateway would triple the cost.
type tracardi struct {
	tenants   Tenants
	cleanups  Cleanups
	auth      Authenticator
	throttle  *throttle
	strangers *throttle
	release   string // of tenants provisioned here
	log       *slog.Logger
}

func (h *tracardi) register(mux *http.ServeMux) {
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /api-key/{key}":  h.token,
		"POST /tenant":        h.create,
		"GET /tenant":         h.list,
		"GET /tenants":        h.list,
		"GET /tenant/{id}":    h.get,
		"DELETE /tenant/{id}": h.remove,

		"DELETE /indices/version/{version}": h.removeVersion,
		"DELETE /indices":                   h.removeIndices,
	} {
		mux.Handle(pattern, private(handler))
	}
}

// private keeps answers out of caches: they hold tokens and install tokens,
// and whether a tenant is allowed changes from one moment to the next.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// tracardiTenant is a tenant as these routes show it.
type tracardiTenant struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Email        string     `json:"email"`
	InstallToken string     `json:"install_token,omitempty"`
	InstallKey   string     `json:"install_key,omitempty"` // its older name
	Created      time.Time  `json:"created"`
	Expire       *time.Time `json:"expire"`
	Domain       string     `json:"domain,omitempty"`
	GUIURL       string     `json:"gui_url,omitempty"`
	Release      string     `json:"release"`
}

func showTenant(t *tenants.Tenant, withToken bool) tracardiTenant {
	out := tracardiTenant{ID: t.ID, Name: t.DisplayName, Email: t.Email, Created: t.CreatedAt, Domain: t.Domain, GUIURL: t.GUIURL, Release: t.Release}
	if !t.ExpiresAt.IsZero() {
		out.Expire = &t.ExpiresAt
	}
	if withToken {
		out.InstallToken, out.InstallKey = t.InstallToken, t.InstallToken
	}
	return out
}

// token answers GET /api-key/{key} with a token, as a JSON string.
func (h *tracardi) token(w http.ResponseWriter, r *http.Request) {
	p, err := h.auth.Authenticate(r.Context(), r.PathValue("key"))
	if err = h.strangers.stranger(hostOf(r.RemoteAddr), err); err == nil {
		err = h.throttle.admit(p.KeyID, true)
	}
	var token string
	if err == nil {
		token, _, err = h.auth.Token(r.Context(), r.PathValue("key"))
	}
	if err != nil {
		// A key that was good once is told apart from one that never was.
		if tenants.HasReason(err, tenants.ReasonKeyRevoked) || tenants.HasReason(err, tenants.ReasonKeyExpired) {
			writeDetail(w, http.StatusForbidden, err.Error())
			return
		}
		h.fail(w, r, err)
		return
	}
	h.answer(w, token)
}

// answer writes what was found, and how old it is when the database does not
// answer.
func (h *tracardi) answer(w http.ResponseWriter, v any) {
	if age := h.auth.Staleness(); age > 0 {
		w.Header().Set(staleHeader, staleSeconds(age))
	}
	writeJSON(w, http.StatusOK, v)
}

// caller recognises the caller of a route that is about one tenant, or, with
// tenant "", about none; light is as in throttle. It has answered when ok is
// false.
func (h *tracardi) caller(w http.ResponseWriter, r *http.Request, tenant string, light bool) (p tenants.Principal, ok bool) {
	return h.permitted(w, r, tenant, light, tenants.PermTracardi)
}

// permitted is caller for a permission other than that of Tracardi's key.
func (h *tracardi) permitted(w http.ResponseWriter, r *http.Request, tenant string, light bool, need tenants.Permission) (p tenants.Principal, ok bool) {
	given := bearer(r.Header.Get("Authorization"))
	if given == "" {
		given = r.Header.Get("X-Api-Key")
	}
	p, err := h.auth.Authenticate(r.Context(), given)
	if err = h.strangers.stranger(hostOf(r.RemoteAddr), err); err == nil {
		err = h.throttle.admit(p.KeyID, light)
	}
	if err == nil && !p.Role.Can(need) {
		err = refusedRole(p, r.Pattern)
	}
	if err == nil && tenant != "" && !p.MayTouch(tenant) {
		err = tenants.RestrictedError(p, fmt.Sprintf("tenant %q", tenant))
	}
	if err != nil {
		h.fail(w, r, err)
		return p, false
	}
	return p, true
}

// signed is the caller for the audit trail.
func signed(p tenants.Principal, r *http.Request) tenants.Caller {
	return tenants.Caller{KeyID: p.KeyID, Role: p.Role, RequestID: requestID(r.Header.Get("X-Request-Id")), Origin: hostOf(r.RemoteAddr)}
}

// get answers GET /tenant/{id} for a tenant that may be served, 404 otherwise.
func (h *tracardi) get(w http.ResponseWriter, r *http.Request) {
	if _, ok := h.caller(w, r, r.PathValue("id"), true); !ok {
		return
	}
	v, err := h.tenants.Check(r.Context(), r.PathValue("id"))
	switch {
	case err != nil:
		h.fail(w, r, err)
	case !v.Allowed:
		writeDetail(w, http.StatusNotFound, fmt.Sprintf("Tenant [%.63s] not allowed: %s", v.ID, v.Reason))
	case v.Tenant.TokenUnreadable:
		// An empty token would let anybody install, or nobody.
		h.fail(w, r, &tenants.Error{
			Code: tenants.CodeUnavailable, Reason: tenants.ReasonTokenUnreadable,
			Message: "the install token cannot be decrypted: SECRET is not the one it was stored with", Remedy: "start TMS with the former SECRET, or with it as TMS_SECRET_OLD, or set a new install token",
		})
	default:
		h.answer(w, showTenant(v.Tenant, true))
	}
}

// list answers with the tenants that may be served.
func (h *tracardi) list(w http.ResponseWriter, r *http.Request) {
	p, ok := h.caller(w, r, "", false)
	if !ok {
		return
	}
	// The contract knows no pages: the list is whole.
	found, err := h.tenants.List(r.Context(), tenants.ListRequest{Filter: tenants.Filter{State: tenants.StateActive, IDs: p.Tenants}})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	out := make([]tracardiTenant, 0, len(found.Tenants))
	for _, t := range found.Tenants {
		out = append(out, showTenant(t, false))
	}
	writeJSON(w, http.StatusOK, out)
}

func (h *tracardi) remove(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	p, ok := h.caller(w, r, id, false)
	if !ok {
		return
	}
	if tenants.ValidateID(id) != nil { // cannot exist, and may be no text at all
		writeDetail(w, http.StatusNotFound, fmt.Sprintf("Tenant [%.63q] not found", id))
		return
	}
	// These programs know no etags.
	t, err := h.tenants.Delete(r.Context(), signed(p, r), tenants.EventRequest{ID: id, Etag: tenants.AnyEtag})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, showTenant(t, false))
}

// create answers POST /tenant.
func (h *tracardi) create(w http.ResponseWriter, r *http.Request) {
	p, ok := h.caller(w, r, "", false)
	if !ok {
		return
	}
	var body tracardiBody
	if err := readBody(r.Body, &body); err != nil {
		writeViolations(w, []bodyError{notJSON(err)})
		return
	}
	t, wrong := body.tenant(h.release)
	if len(wrong) > 0 {
		writeViolations(w, wrong)
		return
	}
	if !p.MayTouch(t.ID) {
		h.fail(w, r, tenants.RestrictedError(p, fmt.Sprintf("tenant %q", t.ID)))
		return
	}
	created, err := h.tenants.Create(r.Context(), signed(p, r), tenants.CreateRequest{Tenant: t})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, showTenant(created, true))
}

// fail is the error table of these routes.
func (h *tracardi) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *tenants.Error
	var c *cleanup.Error
	if errors.As(err, &c) {
		writeDetail(w, http.StatusConflict, c.Error())
		return
	}
	if !errors.As(err, &e) {
		h.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "error", chain(err))
		writeDetail(w, http.StatusInternalServerError, "internal error")
		return
	}
	switch e.Code {
	case tenants.CodeInvalid, tenants.CodeAlreadyExists:
		writeViolations(w, located(r, bodyErrors(e)))
	case tenants.CodeNotFound:
		writeDetail(w, http.StatusNotFound, e.Error())
	case tenants.CodeConflict, tenants.CodeFailedPrecondition:
		writeDetail(w, http.StatusConflict, e.Error())
	case tenants.CodeUnauthenticated:
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeDetail(w, http.StatusUnauthorized, e.Error())
	case tenants.CodePermissionDenied:
		writeDetail(w, http.StatusForbidden, e.Error())
	case tenants.CodeExhausted:
		w.Header().Set("Retry-After", retrySeconds(e.RetryAfter))
		writeDetail(w, http.StatusTooManyRequests, e.Error())
	default:
		h.log.WarnContext(r.Context(), "request failed", "route", r.Pattern, "error", chain(err))
		writeDetail(w, http.StatusServiceUnavailable, e.Error())
	}
}

// located says of fields of a request without a body where they are.
func located(r *http.Request, wrong []bodyError) []bodyError {
	if r.Method != http.MethodDelete && r.Method != http.MethodGet {
		return wrong
	}
	for i := range wrong {
		loc := wrong[i].Loc
		loc[0] = "query"
		switch field := loc[len(loc)-1]; {
		case field == "version" && r.PathValue("version") != "":
			loc[0] = "path"
		case field == "version":
			loc[len(loc)-1] = "db_version"
		}
	}
	return wrong
}

func writeDetail(w http.ResponseWriter, code int, detail string) {
	writeJSON(w, code, map[string]string{"detail": detail})
}

// bodyError is one entry of the 422 answer.
type bodyError struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

func writeViolations(w http.ResponseWriter, all []bodyError) {
	writeJSON(w, http.StatusUnprocessableEntity, map[string][]bodyError{"detail": all})
}

// bodyNames are the names of these routes for fields of the registry.
var bodyNames = map[string]string{"display_name": "name", "expire_time": "expire", "attributes": "license_id"}

func bodyErrors(e *tenants.Error) []bodyError {
	kind := "value_error"
	if e.Code == tenants.CodeAlreadyExists {
		kind = "value_error.exists"
	}
	violations := e.Violations
	if len(violations) == 0 {
		violations = []tenants.Violation{{Field: e.Field, Message: withRemedy(e.Message, e.Remedy)}}
	}
	out := make([]bodyError, 0, len(violations))
	for _, v := range violations {
		field := strings.TrimPrefix(v.Field, "tenant.")
		if name := bodyNames[field]; name != "" {
			field = name
		}
		out = append(out, bodyError{Loc: []any{"body", field}, Msg: v.Message, Type: kind})
	}
	return out
}
