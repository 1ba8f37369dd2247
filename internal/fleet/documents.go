package fleet

import (
	"encoding/base64"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/tracardi/tms/releases"
)

// staticDocuments is how many documents Install writes into each static
// resource. Tracardi's installer brings 3 bridges and 121 to 233 plugins.
const staticDocuments = 3

// filler fills one document of a resource. Metadata that every kind of document
// has differently is its own business; the id is set by generate.
type filler func(*shape)

// fillers knows the resources that Tracardi fills in practice; the others stay
// empty, as they do there.
var fillers = map[string]filler{
	"event":                   fillEvent,
	"profile":                 fillProfile,
	"session":                 fillSession,
	"log":                     fillLog,
	"user-logs":               fillUserLog,
	"item":                    fillItem,
	"entity":                  fillEntity,
	"console-log":             fillConsoleLog,
	"rule":                    fillRule,
	"flow":                    fillFlow,
	"segment":                 fillSegment,
	"live-segment":            fillLiveSegment,
	"event-source":            fillEventSource,
	"resource":                fillResource,
	"user":                    fillUser,
	"destination":             fillDestination,
	"event-management":        fillEventManagement,
	"event-to-profile":        fillEventToProfile,
	"event-reshaping":         fillEventReshaping,
	"event-validation":        fillEventValidation,
	"event-redirect":          fillEventRedirect,
	"event-tags":              fillEventTags,
	"consent-type":            fillConsentType,
	"consent-data-compliance": fillConsentCompliance,
	"identification-point":    fillIdentificationPoint,
	"report":                  fillReport,
	"setting":                 fillSetting,
	"task":                    fillTask,
	"action":                  fillPlugin,
	"bridge":                  fillBridge,
}

// generate makes the n-th document of a resource. It depends on nothing but the
// seed, the tenant, the resource, n and the month.
func (t *Tenant) generate(res releases.Resource, n int, month time.Time) (id string, doc map[string]any) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.cfg.Tenant + "/" + res.Key)) // never fails
	s := &shape{
		mapping: res.Mapping,
		doc:     map[string]any{},
		rng:     rand.New(rand.NewPCG(t.cfg.Seed^h.Sum64(), uint64(n))),
	}
	s.at = month.Add(time.Duration(s.rng.Int64N(int64(27 * 24 * time.Hour)))).Truncate(time.Microsecond)
	id = s.uuid()
	if fill := fillers[res.Key]; fill != nil {
		fill(s)
	}
	// log, user-log, event-tags and entity-list keep their id outside.
	s.put(id, "id")
	return id, s.doc
}

// unicodeNames mixes scripts, combining marks and characters beyond the basic
// plane: lengths in bytes, UTF-16 units and characters all differ.
var unicodeNames = []string{
	"Zoë", "Łukasz", "Ingeborg", "Søren", "José", "Παναγιώτης", "Владимир", "王小明", "さくら", "محمد", "Anaïs 🌻", "O\"Brien\\n", "e\u0301lodie",
}

func (s *shape) contact() {
	user := s.uuid()[:8]
	s.maybe(0.8, user+"@example.com", "data.contact.email", "data.contact.email.main", "pii.email")
	s.maybe(0.5, "+48 600 "+user[:3]+" "+user[4:7], "data.contact.phone", "data.contact.phone.main", "pii.telephone")
	s.maybe(0.3, "@"+user, "data.contact.app.twitter", "pii.twitter")
	s.maybe(0.2, map[string]any{"matrix": "@" + user + ":example.org"}, "data.contact.app.other")
	s.maybe(0.4, s.pick("PL", "DE", "PT", "JP"), "data.contact.address.country")
	s.maybe(0.4, s.pick("Wrocław", "Köln", "São João", "京都"), "data.contact.address.town")
	s.maybe(0.1, nil, "data.contact.address.street")
}

func (s *shape) person() {
	s.maybe(0.7, s.pick(unicodeNames...), "data.pii.firstname", "pii.name")
	s.maybe(0.6, s.pick("Nowak", "Müller", "Gonçalves", "山田"), "data.pii.lastname", "pii.surname")
	s.maybe(0.5, s.pick(unicodeNames...)+" "+s.pick("N.", "M.", "G."), "data.pii.name", "data.pii.display_name")
	s.maybe(0.3, time.Date(1950+s.rng.IntN(55), time.Month(1+s.rng.IntN(12)), 1+s.rng.IntN(28), 0, 0, 0, 0, time.UTC).Format("2006-01-02"),
		"data.pii.birthday", "pii.birthDate")
	s.maybe(0.3, []any{"pl", "en"}[:1+s.rng.IntN(2)], "data.pii.language.spoken")
	s.maybe(0.2, 1.5+s.rng.Float64()/2, "data.pii.attributes.height")
}

func (s *shape) device() {
	s.put(s.pick("Pixel 9", "iPhone", "ThinkPad"), "device.name")
	s.put(s.pick("mobile", "desktop"), "device.type")
	s.put(s.rng.IntN(2) == 0, "device.touch")
	s.maybe(0.6, 51.1+s.rng.Float64(), "device.geo.latitude")
	s.maybe(0.6, 17.0+s.rng.Float64(), "device.geo.longitude")
	s.maybe(0.6, "PL", "device.geo.country.code")
	s.put(s.pick("Android", "iOS", "Linux"), "os.name")
	s.put(s.pick("en-GB", "pl-PL"), "app.language")
	s.put(false, "app.bot")
	s.maybe(0.3, "winter-"+s.pick("a", "b"), "utm.campaign")
}

func fillEvent(s *shape) {
	kind := s.pick("page-view", "purchase", "sign-in", "newsletter", "order-shipped")
	s.put(kind, "type")
	s.put(s.pick("Page viewed", "Kauf abgeschlossen", "登録"), "name")
	s.put(s.later(time.Second), "metadata.time.insert")
	s.put(s.now(), "metadata.time.create")
	s.put(s.rng.Float64(), "metadata.time.process_time")
	s.put(s.pick("collected", "processed"), "metadata.status")
	s.put(s.pick("Web", "App", "Mail"), "metadata.channel")
	s.put(true, "metadata.valid")
	s.put(s.reference("source", 4), "source.id")
	s.put(s.reference("profile", 20), "profile.id")
	s.put(s.reference("session", 26), "session.id")
	s.put(s.now(), "session.start")
	s.put([]any{"web", s.pick("new", "returning")}, "tags.values")
	s.put(2, "tags.count")
	s.put(map[string]any{"page": "/offer/" + s.uuid()[:4], "scroll": s.rng.IntN(100), "ratio": 1e-7, "serial": int64(1)<<62 + s.rng.Int64N(1000)}, "properties")
	s.put(map[string]any{"score": s.rng.IntN(100), "plan": s.pick("basic", "pro"), "nested": map[string]any{"deep": map[string]any{"flag": true}}}, "traits")
	s.put(map[string]any{"ip": "203.0.113.7", "agent": "Mozilla/5.0 (X11; Linux)"}, "context")
	s.put(map[string]any{"headers": map[string]any{"accept": "*/*", "x-empty": ""}, "list": []any{1, "two", nil}}, "request")
	s.put(map[string]any{}, "aux")
	s.maybe(0.3, nil, "metadata.instance.id")
	s.device()
	s.maybe(0.5, "https://shop.example.com/?q="+s.uuid()[:4], "hit.url")
	if kind == "purchase" || kind == "order-shipped" {
		s.order()
	}
	if kind == "newsletter" || kind == "sign-in" {
		s.contact()
		s.person()
	}
}

func (s *shape) order() {
	s.put("O-"+s.uuid()[:8], "data.ec.order.id")
	s.put(s.pick("new", "paid", "sent"), "data.ec.order.status")
	s.put(s.money(500), "data.ec.order.income.value")
	s.put(s.money(500), "data.ec.order.income.revenue")
	s.put(s.money(20), "data.ec.order.cost.shipping")
	s.put(s.money(90), "data.ec.order.cost.tax")
	s.maybe(0.5, s.money(10), "data.ec.order.cost.discount")
	s.maybe(0.3, 0, "data.ec.order.cost.other")
	s.put(s.pick("Kettle", "Ветка", "Gießkanne"), "data.ec.product.name")
	s.put(s.money(500), "data.ec.product.price")
	s.put(1+s.rng.IntN(5), "data.ec.product.quantity")
	s.put(s.pick("card", "blik"), "data.payment.method")
}

func fillProfile(s *shape) {
	s.put([]any{s.uuid(), s.uuid()}[:1+s.rng.IntN(2)], "ids")
	s.put(s.now(), "metadata.time.insert")
	s.put(s.later(48*time.Hour), "metadata.time.update")
	s.put(s.later(24*time.Hour), "metadata.time.visit.last")
	s.put(s.later(48*time.Hour), "metadata.time.visit.current")
	s.put(1+s.rng.IntN(40), "metadata.time.visit.count")
	s.put("Europe/Warsaw", "metadata.time.visit.tz")
	s.put(true, "active")
	s.put(map[string]any{"marketing": map[string]any{"revoke": nil}, "email": map[string]any{"revoke": s.later(time.Hour)}}, "consents")
	s.put(map[string]any{"visits": s.rng.IntN(100), "views": s.rng.IntN(1000)}, "stats")
	s.put(map[string]any{"sport": s.rng.Float64(), "ogród": 0.5}, "interests")
	s.put([]any{"loyal", "newsletter"}[:s.rng.IntN(3)], "segments")
	s.put(map[string]any{"plan": s.pick("basic", "pro"), "size": map[string]any{"shoe": s.rng.IntN(10) + 36}}, "traits", "traits.public")
	s.maybe(0.2, map[string]any{"note": "vip"}, "traits.private")
	s.put(map[string]any{"origin": "import"}, "aux")
	s.contact()
	s.person()
	s.maybe(0.4, []any{"Pixel 9", "TV"}[:1+s.rng.IntN(2)], "data.devices.names", "data.devices.other")
	s.maybe(0.4, "PL", "data.devices.last.geo.country.code")
	s.maybe(0.4, map[string]any{"score": s.rng.IntN(100), "clv": s.money(9000)}, "data.metrics.custom")
	s.maybe(0.4, s.money(5000), "data.metrics.ltv")
	s.maybe(0.2, s.money(9000), "data.job.salary")
	s.maybe(0.2, []any{"green", "blau"}, "data.preferences.colors")
	s.maybe(0.1, map[string]any{"legacy": []any{1, 2, 3}}, "misc")
}

func fillSession(s *shape) {
	s.put(s.now(), "metadata.time.insert")
	s.put(s.later(time.Hour), "metadata.time.update")
	s.put(s.at.Unix(), "metadata.time.timestamp")
	s.put(s.rng.Float64()*600, "metadata.time.duration")
	s.put(int(s.at.Weekday()), "metadata.time.weekday")
	s.put(s.pick("Web", "App"), "metadata.channel")
	s.put("active", "metadata.status")
	s.put(s.reference("profile", 20), "profile.id")
	s.put(map[string]any{"browser": map[string]any{"local": map[string]any{"device": map[string]any{"type": "mobile"}}}, "screen": nil}, "context")
	s.put(map[string]any{"variant": s.pick("a", "b")}, "properties")
	s.put(map[string]any{"depth": s.rng.IntN(20)}, "traits")
	s.device()
}

func fillLog(s *shape) {
	s.put(s.now(), "date")
	s.put(s.pick("tracardi.service", "app.api"), "logger")
	s.put(s.pick("INFO", "WARNING", "ERROR"), "level")
	s.put("Worker finished: "+s.uuid(), "message")
	s.put("main.py", "file")
	s.put(s.rng.IntN(900), "line")
}

func fillUserLog(s *shape) {
	s.put("user-"+s.uuid()[:4]+"@example.com", "email")
	s.put(s.now(), "timestamp")
	s.put(s.rng.IntN(5) > 0, "successful")
}

func fillItem(s *shape) {
	s.put(s.now(), "timestamp")
	s.put("product", "type")
	s.put(s.reference("profile", 20), "profile.id")
	s.put(s.pick("Kettle", "Gießkanne"), "data.product.name")
	s.put(s.money(300), "data.product.price")
	s.put(map[string]any{"stock": s.rng.IntN(50)}, "properties")
	s.put(map[string]any{"colour": "green"}, "traits")
}

func fillEntity(s *shape) {
	s.put(s.now(), "timestamp", "metadata.time.create")
	s.put(s.pick("company", "vehicle"), "type")
	s.put(s.reference("profile", 20), "profile.id")
	s.put(map[string]any{"wheels": 4, "plate": s.uuid()[:6]}, "properties")
	s.put(map[string]any{"name": s.pick(unicodeNames...)}, "traits")
}

func fillConsoleLog(s *shape) {
	s.put(s.now(), "metadata.timestamp")
	s.put(s.pick("error", "warning"), "type")
	s.put("Node failed: "+s.uuid()[:8], "message")
	s.put("node", "origin")
	s.put(s.reference("profile", 20), "profile_id")
	s.put([]any{}, "traceback")
}

// encoded is what the binary fields of a flow hold.
func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
