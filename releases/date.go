package releases

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Dates, by the calendar that the engine's date fields have too (proleptic
// Gregorian), spelled out so that both twins come to the same. Text may be
// 2023-02-01, followed by T or a space, hh:mm:ss, a fraction of up to nine
// digits (cut to milliseconds) and Z or an offset; without one it is UTC.

// noDate stands for what is no date.
const noDate = math.MinInt64

// The years 1 to 9999, in milliseconds since 1970.
const (
	firstDate = -62135596800000
	lastDate  = 253402300799999
)

// dates is what dated needs to know.
func (o Op) dates() []string { return []string{o.From, o.To} }

func dated(v any, how []string) any {
	var ms int64 = noDate
	switch v := v.(type) {
	case string:
		ms = textMillis(v)
	case json.Number:
		whole, ok := toInteger(v).(json.Number)
		if how[0] == "" || !ok {
			return nil
		}
		n, err := strconv.ParseInt(string(whole), 10, 64)
		if err != nil || n < firstDate || n > lastDate {
			return nil
		}
		ms = n
		if how[0] == DateEpochSecond {
			ms *= 1000
		}
	}
	if ms < firstDate || ms > lastDate {
		return nil
	}
	switch how[1] {
	case DateEpochMillis:
		return json.Number(strconv.FormatInt(ms, 10))
	case DateEpochSecond:
		return json.Number(strconv.FormatInt(floorDiv(ms, 1000), 10))
	}
	return dateText(ms, how[1])
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// civilDays counts the days since 1970-01-01; the year is 1 or later.
func civilDays(y, m, d int64) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	yoe := y - era*400
	mp := m + 9
	if m > 2 {
		mp = m - 3
	}
	doy := (153*mp+2)/5 + d - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

// number2 reads n digits; -1 when there are none such.
func number2(s string, i, n int) int64 {
	if i+n > len(s) {
		return -1
	}
	var out int64
	for _, c := range []byte(s[i : i+n]) {
		if c < '0' || c > '9' {
			return -1
		}
		out = out*10 + int64(c-'0')
	}
	return out
}

func dayMillis(s string) int64 {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return noDate
	}
	y, m, d := number2(s, 0, 4), number2(s, 5, 2), number2(s, 8, 2)
	if y < 1 || m < 1 || m > 12 || d < 1 {
		return noDate
	}
	next := civilDays(y, m+1, 1)
	if m == 12 {
		next = civilDays(y+1, 1, 1)
	}
	if d > next-civilDays(y, m, 1) {
		return noDate
	}
	return civilDays(y, m, d) * 86400000
}

func zoneMillis(s string, i int) int64 {
	if i == len(s) {
		return 0
	}
	if s[i] == 'Z' {
		if i+1 == len(s) {
			return 0
		}
		return noDate
	}
	if s[i] != '+' && s[i] != '-' {
		return noDate
	}
	h, at := number2(s, i+1, 2), i+3
	if at < len(s) && s[at] == ':' {
		at++
	}
	m := number2(s, at, 2)
	if h < 0 || h > 18 || m < 0 || m > 59 || at+2 != len(s) {
		return noDate
	}
	if s[i] == '-' {
		return -(h*60 + m) * 60000
	}
	return (h*60 + m) * 60000
}

func textMillis(s string) int64 {
	day := dayMillis(s)
	if day == noDate || len(s) == 10 {
		return day
	}
	if s[10] != 'T' && s[10] != ' ' || len(s) < 19 || s[13] != ':' || s[16] != ':' {
		return noDate
	}
	h, m, sec := number2(s, 11, 2), number2(s, 14, 2), number2(s, 17, 2)
	if h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 59 {
		return noDate
	}
	at, ms := 19, int64(0)
	if at < len(s) && s[at] == '.' {
		end := digitsFrom(s, at+1)
		if n := end - at - 1; n < 1 || n > 9 {
			return noDate
		}
		unit := int64(100)
		for j := at + 1; j < end && unit > 0; j++ {
			ms += int64(s[j]-'0') * unit
			unit /= 10
		}
		at = end
	}
	zone := zoneMillis(s, at)
	if zone == noDate {
		return zone
	}
	return day + (h*3600+m*60+sec)*1000 + ms - zone
}

func dateText(ms int64, to string) string {
	days := floorDiv(ms, 86400000)
	t := ms - days*86400000
	z := days + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	y, m := yoe+era*400, mp+3
	if mp >= 10 {
		m = mp - 9
		y++
	}
	day := fmt.Sprintf("%04d-%02d-%02d", y, m, doy-(153*mp+2)/5+1)
	clock := fmt.Sprintf("%02d:%02d:%02d", t/3600000, t/60000%60, t/1000%60)
	switch to {
	case DateDay:
		return day
	case DateTime:
		return day + " " + clock
	}
	return fmt.Sprintf("%sT%s.%03dZ", day, clock, t%1000)
}
