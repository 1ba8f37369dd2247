package server

import (
	"net/http"
	"strconv"

	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/tenants"
)

// tracardiCleanup is the answer of the routes that delete old indices.
type tracardiCleanup struct {
	Operation string   `json:"operation"` // GET /v1/operations/{operation}
	State     string   `json:"state"`
	Version   string   `json:"version"`
	Indices   []string `json:"indices"` // exact names, that go
	Templates []string `json:"templates"`
}

// removeVersion answers DELETE /indices/version/{version}.
func (h *tracardi) removeVersion(w http.ResponseWriter, r *http.Request) {
	h.clean(w, r, r.PathValue("version"), "")
}

// removeIndices answers DELETE /indices?db_version=…&codename=…, where
// db_version is the prefix of index names and codename a tenant.
func (h *tracardi) removeIndices(w http.ResponseWriter, r *http.Request) {
	h.clean(w, r, r.URL.Query().Get("db_version"), r.URL.Query().Get("codename"))
}

// clean plans and starts in one call: these programs know no digests. One who
// does may give it, cluster=NAME is needed where there are several, and a waiver
// of the snapshots must be said. A version that an alias or a tenant uses is
// 409.
func (h *tracardi) clean(w http.ResponseWriter, r *http.Request, version, tenant string) {
	p, ok := h.permitted(w, r, tenant, false, tenants.PermPurge)
	if !ok {
		return
	}
	if p.Tenants != nil && tenant == "" {
		h.fail(w, r, tenants.RestrictedError(p, "all tenants"))
		return
	}
	q := r.URL.Query()
	waived := false
	if text := q.Get("without_snapshot"); text != "" {
		var err error
		if waived, err = strconv.ParseBool(text); err != nil {
			h.fail(w, r, &tenants.Error{Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: "without_snapshot", Message: "neither true nor false"})
			return
		}
	}
	request := cleanup.Request{Version: version, WithoutSnapshot: waived, Digest: q.Get("digest"), Cluster: q.Get("cluster")}
	if tenant != "" {
		request.Tenants = []string{tenant}
	}
	op, plan, err := h.cleanups.Run(r.Context(), signed(p, r), request)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	out := tracardiCleanup{Operation: op.ID, State: string(op.State), Version: plan.Version, Indices: []string{}, Templates: []string{}}
	for _, part := range plan.Tenants {
		for _, ix := range part.Indices {
			out.Indices = append(out.Indices, ix.Name)
		}
		out.Templates = append(out.Templates, part.Templates...)
	}
	writeJSON(w, http.StatusAccepted, out)
}
