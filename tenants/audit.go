package tenants

import (
	"maps"
	"reflect"
)

// masked stands where a secret is in the audit trail.
const masked = "***"

// shown is a tenant as the audit trail keeps it: fields of the contract that
// have a value, secrets masked.
func shown(t *Tenant) map[string]any {
	all := map[string]any{
		"display_name": t.DisplayName, "email": t.Email, "domain": t.Domain, "gui_url": t.GUIURL,
		"release": t.Release, "adopted_from": t.AdoptedFrom, "cluster": t.Cluster, "suspended": t.Suspended, "labels": t.Labels,
		"expire_time": t.ExpiresAt, "attributes": t.Attributes,
	}
	if t.InstallToken != "" {
		all["install_token"] = masked
	}
	maps.DeleteFunc(all, func(_ string, v any) bool { return reflect.ValueOf(v).IsZero() || empty(v) })
	return all
}

func empty(v any) bool {
	r := reflect.ValueOf(v)
	return (r.Kind() == reflect.Map || r.Kind() == reflect.Slice) && r.Len() == 0
}

// changed are the fields that differ, as they were and as they are.
func changed(was, is *Tenant) (before, after map[string]any) {
	before, after = shown(was), shown(is)
	for field, old := range before {
		if now, ok := after[field]; ok && reflect.DeepEqual(old, now) {
			delete(before, field)
			delete(after, field)
		}
	}
	if was.InstallToken != is.InstallToken {
		before["install_token"], after["install_token"] = masked, masked
	}
	return before, after
}
