package backups

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // schedules have time zones, containers often no database of them

	"github.com/robfig/cron/v3"
)

// Policy takes snapshots by the clock, drills them and removes old ones.
type Policy struct {
	Name string
	// Schedule is five fields of cron, or @daily and its like.
	Schedule string
	// Zone is the IANA name of the schedule's time zone, "UTC" by default.
	Zone       string
	Repository string
	// Selection is resolved at every run.
	Selection Selection
	Digest    bool
	// Drill restores one tenant out of every successful snapshot beside: the
	// one whose last drill is longest ago.
	Drill     bool
	Retention Retention
	Paused    bool

	CreatedBy string
	CreatedAt time.Time
	// Revision grows with every change of the row.
	Revision int64
	// Edition grows with every change that an operator makes.
	Edition int64
	// NextAt is when the next run is due, zero while paused.
	NextAt time.Time
	// RetainAt is when snapshots are looked through next.
	RetainAt time.Time

	LastSuccess *Outcome
	LastFailure *Outcome
	LastDrill   *Outcome
	LastSweep   *Sweep
}

// Outcome is how a run of a policy ended.
type Outcome struct {
	Run    string    `json:"run,omitempty"` // "" when it could not begin
	At     time.Time `json:"at"`
	OK     bool      `json:"ok,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Tenant string    `json:"tenant,omitempty"` // of a drill
}

// Sweep is a look for snapshots to remove.
type Sweep struct {
	At      time.Time `json:"at"`
	Removed int       `json:"removed"`
	// Held should go by age or number and had to stay, with the reason.
	Held []string `json:"held,omitempty"`
}

// NativePolicy is one that the engine runs on its own. It knows no tenants.
type NativePolicy struct {
	Name, Kind, Schedule, Repository string
	// Cluster whose engine runs it.
	Cluster                  string
	NextAt                   time.Time
	LastSuccess, LastFailure *Outcome
}

// cronFields are what people know from crontab, and @daily.
const cronFields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor

// anyHour is the bit by which the parser marks an hour given as "*" or "*/n".
const anyHour = 1 << 63

// timetable is a schedule that was understood.
type timetable struct {
	spec *cron.SpecSchedule
	zone *time.Location
}

// timetable reads schedule and zone.
func (p Policy) timetable() (timetable, error) {
	const remedy = "give minute, hour, day of month, month and day of week, such as `30 2 * * *`; or @hourly, @daily, @weekly, @monthly"
	var t timetable
	if strings.Contains(p.Schedule, "TZ=") {
		return t, invalid("schedule", "give the time zone on its own", "%q carries a time zone", short(p.Schedule))
	}
	parsed, err := cron.NewParser(cronFields).Parse(p.Schedule)
	if err != nil {
		return t, invalid("schedule", remedy, "%q is no schedule: %v", short(p.Schedule), err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok { // @every counts from the start of a process
		return t, invalid("schedule", remedy, "%q has no fixed times", short(p.Schedule))
	}
	if t.zone, err = time.LoadLocation(p.Zone); err != nil || p.Zone == "Local" {
		return t, invalid("time_zone", "use a name of the IANA database such as Europe/Warsaw, or UTC", "%q is not known", short(p.Zone))
	}
	spec.Location = time.UTC // see next
	t.spec = spec
	if t.next(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return t, invalid("schedule", remedy, "%q never comes", short(p.Schedule))
	}
	return t, nil
}

// next is the first time after now. A time of day that is skipped when clocks
// go forward is made up for after the gap, and one that comes twice when they
// go back counts once; schedules of every hour follow the clock as it runs.
func (t timetable) next(now time.Time) time.Time {
	if t.spec.Hour&anyHour != 0 {
		free := *t.spec
		free.Location = t.zone
		return free.Next(now).UTC()
	}
	local := now.In(t.zone)
	wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, time.UTC)
	// A day earlier is early enough for a time in a gap that is now behind us.
	for wall = wall.Add(-24 * time.Hour); ; {
		if wall = t.spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, t.zone)
		if at.After(now) {
			return at.UTC()
		}
	}
}

// check says what is wrong with a policy before anything is looked up.
func (p *Policy) check() (timetable, error) {
	if p.Zone == "" {
		p.Zone = "UTC"
	}
	if !repositoryName.MatchString(p.Name) {
		return timetable{}, invalid("name", "use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit", "%q is no name for a policy", short(p.Name))
	}
	if p.Selection.Rollout != "" {
		return timetable{}, invalid("selection.rollout", "select by tenants or labels, or all", "a rollout ends, a policy does not")
	}
	if err := p.Retention.check(); err != nil {
		return timetable{}, err
	}
	return p.timetable()
}

// purpose is how its snapshots are told in lists.
func (p *Policy) purpose() string { return "policy " + p.Name }

// requestID makes one run of a due time, whoever asks and how often. The time
// of creation tells policies of the same name apart.
func (p *Policy) requestID() string {
	return fmt.Sprintf("policy %s %d %s", p.Name, p.CreatedAt.UnixMicro(), p.NextAt.UTC().Format(time.RFC3339))
}
