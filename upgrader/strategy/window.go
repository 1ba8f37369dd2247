package strategy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // windows have time zones, containers often no database of them
)

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// opening is a Window that was read.
type opening struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes after midnight; to may be past 24 h
	zone     *time.Location
}

func (w Window) parse() (opening, error) {
	var o opening
	var err error
	if o.zone, err = time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return o, fmt.Errorf("zone %q is unknown: write for instance Europe/Warsaw", w.Zone)
	}
	if len(w.Days) == 0 {
		o.days = [7]bool{true, true, true, true, true, true, true}
	}
	for _, d := range w.Days {
		if err := o.addDays(strings.ToLower(d)); err != nil {
			return o, err
		}
	}
	from, fromOK := minutes(w.From)
	to, toOK := minutes(w.To)
	switch {
	case !fromOK || from == 24*60:
		return o, fmt.Errorf("from %q is no time of day: write for instance 22:00", w.From)
	case !toOK:
		return o, fmt.Errorf("to %q is no time of day: write for instance 04:00, or 24:00", w.To)
	case from == to:
		return o, errors.New("from and to are the same: write 00:00 and 24:00 for the whole day")
	case to < from:
		to += 24 * 60
	}
	o.from, o.to = from, to
	return o, nil
}

// addDays adds "mon" or "mon-fri"; "sat-mon" goes over the end of the week.
func (o *opening) addDays(text string) error {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	i, j := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if i < 0 || j < 0 {
		return fmt.Errorf("days %q is unknown: write %s, or for instance mon-fri", text, strings.Join(weekdays, ", "))
	}
	for {
		o.days[i] = true
		if i == j {
			return nil
		}
		i = (i + 1) % 7
	}
}

// minutes after midnight of "22:00"; 24:00 is the end of the day.
func minutes(text string) (int, bool) {
	if text == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err == nil
}

// on is the opening that begins on a day, by the clock on the wall there: a
// change to or from summer time makes it longer or shorter.
func (o opening) on(y int, m time.Month, d int) (from, to time.Time) {
	return time.Date(y, m, d, 0, o.from, 0, 0, o.zone), time.Date(y, m, d, 0, o.to, 0, 0, o.zone)
}

// OpenAt says whether any of the windows is open, and when that changes next;
// no windows are always open. The windows must be right.
func OpenAt(windows []Window, now time.Time) (open bool, until time.Time) {
	if len(windows) == 0 {
		return true, time.Time{}
	}
	var next time.Time // earliest beginning of one that is not open yet
	for _, w := range windows {
		o, err := w.parse()
		if err != nil {
			continue
		}
		y, m, d := now.In(o.zone).Date()
		for day := -1; day <= 8; day++ {
			from, to := o.on(y, m, d+day)
			if !o.days[from.Weekday()] || !to.After(now) {
				continue
			}
			if !from.After(now) {
				open = true
				if to.After(until) {
					until = to
				}
				continue
			}
			if next.IsZero() || from.Before(next) {
				next = from
			}
		}
	}
	if open {
		return true, until
	}
	return false, next
}
