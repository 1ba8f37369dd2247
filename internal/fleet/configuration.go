package fleet

import "time"

// The fillers of this file make what people configure in Tracardi: few
// documents, but each one matters.

func (s *shape) described(what string) {
	s.put(what+" "+s.uuid()[:4], "name")
	s.put("Made for "+s.pick(unicodeNames...), "description")
	s.put(true, "enabled")
	s.put([]any{"shop"}, "tags")
}

// eventType names the event that a configuration listens to; it was a plain
// keyword before it became an object.
func (s *shape) eventType() {
	kind := s.pick("page-view", "purchase")
	s.put(kind, "event_type", "event_type.id", "event.type")
	s.put(kind, "event_type.name")
}

func (s *shape) source() {
	s.put(s.reference("source", 4), "source.id", "event_source.id")
	s.put("Web shop", "source.name", "event_source.name")
}

func fillRule(s *shape) {
	s.described("Rule")
	s.eventType()
	s.source()
	s.put(s.uuid(), "flow.id")
	s.put("Welcome flow", "flow.name")
	s.put("event-collect", "type")
	s.put(s.now(), "metadata.time.insert")
	s.put(map[string]any{"once": true}, "properties")
}

func fillFlow(s *shape) {
	s.described("Flow")
	s.put("collection", "type")
	s.put(encoded(`{"nodes":[],"edges":[]}`), "draft")
	s.maybe(0.5, encoded(`{"nodes":[1]}`), "production")
	s.put([]any{"General"}, "projects")
	s.put(s.rng.IntN(2) == 0, "deployed")
	s.put(s.now(), "timestamp")
	s.put(false, "lock")
	s.put(true, "debug.enabled")
}

func fillSegment(s *shape) {
	s.described("Segment")
	s.put("profile@stats.views > 10", "condition")
	s.put([]any{"page-view"}, "eventType")
	s.put("many-views", "machine_name")
}

func fillLiveSegment(s *shape) {
	s.described("Live segment")
	s.put(s.uuid(), "workflow.id")
	s.put("Segmentation", "workflow.name")
	s.put("workflow", "type")
}

func fillEventSource(s *shape) {
	s.described("Source")
	s.put([]any{"rest"}, "type")
	s.put(s.uuid(), "bridge.id")
	s.put("API", "bridge.name")
	s.put(s.now(), "timestamp")
	s.put("Web", "channel")
	s.put(map[string]any{"static_profile_id": false}, "config")
	s.put("/track", "endpoints.post.url")
	s.put(false, "locked")
}

func fillResource(s *shape) {
	s.described("Resource")
	s.put("mysql", "type")
	// Tracardi encrypts credentials; here stands only something as long.
	s.put(encoded(s.uuid()+s.uuid()), "credentials")
	s.put(s.now(), "timestamp")
	s.put([]any{"database"}, "groups")
}

func fillUser(s *shape) {
	s.put("operator-"+s.uuid()[:6]+"@example.com", "email")
	s.put(s.pick(unicodeNames...), "full_name")
	s.put("not-a-hash", "password")
	s.put([]any{"admin", "developer"}, "roles")
	s.put(false, "disabled")
	s.put(s.at.Add(365*24*time.Hour).Unix(), "expiration_timestamp")
	s.put(map[string]any{"theme": "dark"}, "preference")
}

func fillDestination(s *shape) {
	s.described("Destination")
	s.eventType()
	s.source()
	s.put(`{"package":"tracardi.destination"}`, "destination")
	s.put(`{"email":"profile@data.contact.email"}`, "mapping")
	s.put(s.uuid(), "resource.id")
	s.put(false, "on_profile_change_only")
}

func fillEventManagement(s *shape) {
	s.described("Event type")
	s.eventType()
	s.put(true, "index_enabled")
	s.put(map[string]any{"price": "float"}, "index_schema")
	s.put("consideration", "journey")
}

func fillEventToProfile(s *shape) {
	s.described("Mapping")
	s.eventType()
	s.put(map[string]any{"data.contact.email": "event@properties.email", "op": 1}, "event_to_profile")
	s.put(map[string]any{"overwrite": true}, "config")
}

func fillEventReshaping(s *shape) {
	s.described("Reshaping")
	s.eventType()
	s.source()
	s.put(map[string]any{"reshape_schema": map[string]any{"properties": "{}"}}, "reshaping")
	s.maybe(0.5, map[string]any{"profile": "none"}, "mapping")
}

func fillEventValidation(s *shape) {
	s.described("Validation")
	s.eventType()
	s.put(map[string]any{"json_schema": map[string]any{"event@properties": map[string]any{"type": "object"}}}, "validation")
}

func fillEventRedirect(s *shape) {
	s.described("Redirect")
	s.eventType()
	s.source()
	s.put("https://example.com/landing", "url")
	s.put(map[string]any{"channel": "mail"}, "props")
}

func fillEventTags(s *shape) {
	s.put(s.pick("page-view", "purchase"), "type")
	s.put([]any{"web", "commerce"}, "tags")
}

func fillConsentType(s *shape) {
	s.described("Consent")
	s.put(true, "revokable")
	s.put("grant", "default_value")
	s.put("30d", "auto_revoke")
	s.put(false, "required")
}

func fillConsentCompliance(s *shape) {
	s.described("Compliance")
	s.eventType()
	s.put([]any{map[string]any{"action": "hash", "field": map[string]any{"value": "pii.email", "ref": true}}}, "settings")
}

func fillIdentificationPoint(s *shape) {
	s.described("Identification")
	s.eventType()
	s.source()
	s.put([]any{map[string]any{"profile_trait": map[string]any{"value": "data.contact.email", "ref": true}}}, "fields")
	s.put(map[string]any{"conflict": "merge"}, "settings")
}

func fillReport(s *shape) {
	s.described("Report")
	s.put("event", "index")
	s.put(`{"query":{"match_all":{}}}`, "query")
}

func fillSetting(s *shape) {
	s.described("Setting")
	s.put("metric", "type")
	s.put(s.now(), "timestamp")
	s.put(map[string]any{"metric": map[string]any{"type": "count", "span": 3600}}, "content")
	s.put(map[string]any{"unit": "seconds"}, "config")
}

func fillTask(s *shape) {
	s.put("Import "+s.uuid()[:4], "name")
	s.put("import", "type")
	s.put("done", "status")
	s.put(100, "progress")
	s.put(s.now(), "timestamp")
	s.put(map[string]any{"rows": 1200}, "params")
	s.put("import-event", "event_type")
}

func fillPlugin(s *shape) {
	s.put(s.now(), "metadata.time.insert", "metadata.time.create")
	s.put("Plugin "+s.uuid()[:4], "plugin.metadata.name")
	s.put("Does one thing", "plugin.metadata.desc")
	s.put("PluginAction", "plugin.spec.className")
	s.put("tracardi.process_engine.action.v1.plugin", "plugin.spec.module")
	s.put([]any{"payload"}, "plugin.spec.inputs")
	s.put(true, "settings.enabled")
	s.put(false, "plugin.start")
}

func fillBridge(s *shape) {
	s.put("API Webhook Bridge", "name")
	s.put("Collects events over HTTP", "description")
	s.put(s.pick("rest", "webhook", "redirect"), "type")
	s.put(map[string]any{"port": 80}, "config")
}
