package releases

// conversion holds the twins of what makes one value of another.
var conversion = []function{
	{name: "scalar", source: `def scalar(def v) {
  if (v instanceof Double) { double d = v; if (Double.isInfinite(d) || Double.isNaN(d)) return Double.toString(d); }
  return v;
}
`},
	{name: "whole", source: `boolean whole(def v) { return v instanceof Integer || v instanceof Long || v instanceof BigInteger; }
`},
	{name: "digitsFrom", source: `int digitsFrom(String s, int i) {
  int n = s.length();
  while (i < n && (int) s.charAt(i) >= 48 && (int) s.charAt(i) <= 57) i++;
  return i;
}
`},
	{name: "sign", source: `int sign(String s, int i) {
  if (i >= s.length()) return 0;
  int c = (int) s.charAt(i);
  return c == 43 || c == 45 ? 1 : 0;
}
`},
	{name: "floatText", source: `String floatText(double d) {
  if (d == 0) return '0';
  long bits = Double.doubleToLongBits(d); int e = (int) ((bits >>> 52) & 2047L); long m = bits & 4503599627370495L;
  if (e == 0) { e = -1074; } else { m = m | 4503599627370496L; e -= 1075; }
  BigDecimal b = new BigDecimal(Long.toString(d < 0 ? -m : m));
  if (e >= 0) { b = b.multiply(new BigDecimal('2').pow(e)); } else { b = b.multiply(new BigDecimal('5').pow(-e)).scaleByPowerOfTen(e); }
  for (int p = 1; p < 17; p++) {
    BigDecimal r = b.round(new MathContext(p, RoundingMode.HALF_EVEN));
    if (r.doubleValue() == d) return r.stripTrailingZeros().toPlainString();
  }
  return b.round(new MathContext(17, RoundingMode.HALF_EVEN)).stripTrailingZeros().toPlainString();
}
`},
	{name: "toText", calls: []string{"whole", "floatText"}, source: `def toText(def v) {
  if (v instanceof String) return v;
  if (v instanceof Boolean || whole(v)) return v.toString();
  if (v instanceof Number) return floatText(((Number) v).doubleValue());
  return null;
}
`},
	{name: "toInteger", calls: []string{"whole", "sign", "digitsFrom"}, source: `def toInteger(def v) {
  if (whole(v)) return v;
  if (v instanceof Number) { double d = ((Number) v).doubleValue(); if (d == Math.rint(d) && Math.abs(d) < 9.2e18) return (long) d; return null; }
  if (v instanceof String) {
    String t = (String) v; int i = sign(t, 0); int n = t.length() - i;
    if (n >= 1 && n <= 18 && digitsFrom(t, i) == t.length()) return Long.parseLong(t);
  }
  return null;
}
`},
	{name: "decimalText", calls: []string{"sign", "digitsFrom"}, source: `boolean decimalText(String s) {
  if (s.length() > 64) return false;
  int i = sign(s, 0); int j = digitsFrom(s, i); int n = j - i;
  if (j < s.length() && (int) s.charAt(j) == 46) { int k = digitsFrom(s, j + 1); n = n + k - j - 1; j = k; }
  if (n == 0) return false;
  if (j < s.length() && ((int) s.charAt(j) == 69 || (int) s.charAt(j) == 101)) {
    j++; j += sign(s, j); int k = digitsFrom(s, j);
    if (k == j) return false;
    j = k;
  }
  return j == s.length();
}
`},
	{name: "toFloat", calls: []string{"decimalText"}, source: `def toFloat(def v) {
  double d;
  if (v instanceof Number) { d = ((Number) v).doubleValue(); }
  else if (v instanceof String && decimalText((String) v)) { d = Double.parseDouble((String) v); }
  else { return null; }
  if (Double.isInfinite(d)) return null;
  return d;
}
`},
	{name: "toBoolean", source: `def toBoolean(def v) {
  if (v instanceof Boolean) return v;
  if (v instanceof String) { if (v == 'true') return true; if (v == 'false') return false; return null; }
  if (v instanceof Number) { double d = ((Number) v).doubleValue(); if (d == 1) return true; if (d == 0) return false; }
  return null;
}
`},
	{name: "split", source: `List split(String t, String by) {
  List out = new ArrayList(); int from = 0; int at = t.indexOf(by, from);
  while (at >= 0) { out.add(t.substring(from, at)); from = at + by.length(); at = t.indexOf(by, from); }
  out.add(t.substring(from));
  return out;
}
`},
	{name: "joined", calls: []string{"scalar", "toText"}, source: `def joined(List l, String by) {
  StringBuilder b = new StringBuilder(); boolean first = true;
  for (def e : l) {
    if (e == null) continue;
    def t = toText(scalar(e));
    if (t == null) return null;
    if (!first) b.append(by);
    first = false; b.append((String) t);
  }
  return b.toString();
}
`},
	{name: "divide", calls: []string{"split", "joined"}, source: `void divide(def n, List p, int i, String by, boolean joining) {
  if (n instanceof List) { for (def e : (List) n) divide(e, p, i, by, joining); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { divide(m.get(k), p, i + 1, by, joining); return; }
  def v = m.get(k);
  if (joining && v instanceof List) { def t = joined((List) v, by); if (t != null) m.put(k, t); return; }
  if (!joining && v instanceof String) m.put(k, split((String) v, by));
}
`},
	{name: "mapped", calls: []string{"toText", "dup"}, source: `def mapped(def v, Map values) {
  def t = toText(v);
  return t == null ? null : dup(values.get(t));
}
`},
	{name: "civilDays", source: `long civilDays(long y, long m, long d) {
  if (m <= 2) y--;
  long era = y / 400; long yoe = y - era * 400;
  long doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}
`},
	{name: "number2", source: `long number2(String s, int i, int n) {
  if (i + n > s.length()) return -1;
  long out = 0;
  for (int j = i; j < i + n; j++) { int c = (int) s.charAt(j); if (c < 48 || c > 57) return -1; out = out * 10 + c - 48; }
  return out;
}
`},
	{name: "dayMillis", calls: []string{"number2", "civilDays"}, source: `long dayMillis(String s) {
  if (s.length() < 10 || (int) s.charAt(4) != 45 || (int) s.charAt(7) != 45) return Long.MIN_VALUE;
  long y = number2(s, 0, 4); long m = number2(s, 5, 2); long d = number2(s, 8, 2);
  if (y < 1 || m < 1 || m > 12 || d < 1) return Long.MIN_VALUE;
  long next = m == 12 ? civilDays(y + 1, 1, 1) : civilDays(y, m + 1, 1);
  if (d > next - civilDays(y, m, 1)) return Long.MIN_VALUE;
  return civilDays(y, m, d) * 86400000L;
}
`},
	{name: "zoneMillis", calls: []string{"number2"}, source: `long zoneMillis(String s, int i) {
  if (i == s.length()) return 0;
  int c = (int) s.charAt(i);
  if (c == 90) return i + 1 == s.length() ? 0 : Long.MIN_VALUE;
  if (c != 43 && c != 45) return Long.MIN_VALUE;
  long h = number2(s, i + 1, 2); int at = i + 3;
  if (at < s.length() && (int) s.charAt(at) == 58) at++;
  long m = number2(s, at, 2);
  if (h < 0 || h > 18 || m < 0 || m > 59 || at + 2 != s.length()) return Long.MIN_VALUE;
  return (c == 45 ? -1 : 1) * (h * 60 + m) * 60000L;
}
`},
	{name: "textMillis", calls: []string{"dayMillis", "zoneMillis", "number2", "digitsFrom"}, source: `long textMillis(String s) {
  long day = dayMillis(s);
  if (day == Long.MIN_VALUE || s.length() == 10) return day;
  int c = (int) s.charAt(10);
  if ((c != 84 && c != 32) || s.length() < 19 || (int) s.charAt(13) != 58 || (int) s.charAt(16) != 58) return Long.MIN_VALUE;
  long h = number2(s, 11, 2); long m = number2(s, 14, 2); long sec = number2(s, 17, 2);
  if (h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 59) return Long.MIN_VALUE;
  int at = 19; long ms = 0;
  if (at < s.length() && (int) s.charAt(at) == 46) {
    int end = digitsFrom(s, at + 1); int n = end - at - 1;
    if (n < 1 || n > 9) return Long.MIN_VALUE;
    long unit = 100;
    for (int j = at + 1; j < end && unit > 0; j++) { ms += ((int) s.charAt(j) - 48) * unit; unit /= 10; }
    at = end;
  }
  long zone = zoneMillis(s, at);
  if (zone == Long.MIN_VALUE) return zone;
  return day + (h * 3600 + m * 60 + sec) * 1000 + ms - zone;
}
`},
	{name: "floorDiv", source: `long floorDiv(long a, long b) {
  long q = a / b;
  return a % b < 0 ? q - 1 : q;
}
`},
	{name: "padded", source: `String padded(long v, int n) {
  String s = Long.toString(v);
  while (s.length() < n) s = '0' + s;
  return s;
}
`},
	{name: "dateText", calls: []string{"padded", "floorDiv"}, source: `String dateText(long ms, String to) {
  long days = floorDiv(ms, 86400000L); long t = ms - days * 86400000L;
  long z = days + 719468; long era = z / 146097; long doe = z - era * 146097;
  long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  long doy = doe - (365 * yoe + yoe / 4 - yoe / 100); long mp = (5 * doy + 2) / 153;
  long m = mp < 10 ? mp + 3 : mp - 9;
  String day = padded(yoe + era * 400 + (m <= 2 ? 1 : 0), 4) + '-' + padded(m, 2) + '-' + padded(doy - (153 * mp + 2) / 5 + 1, 2);
  if (to == 'date') return day;
  String clock = padded(t / 3600000L, 2) + ':' + padded(t / 60000L % 60, 2) + ':' + padded(t / 1000L % 60, 2);
  if (to == 'datetime') return day + ' ' + clock;
  return day + 'T' + clock + '.' + padded(t % 1000L, 3) + 'Z';
}
`},
	{name: "dated", calls: []string{"toInteger", "whole", "textMillis", "dateText", "floorDiv"}, source: `def dated(def v, List how) {
  long ms = Long.MIN_VALUE;
  if (v instanceof String) { ms = textMillis((String) v); }
  else if (v instanceof Number && how.get(0) != '') {
    def n = toInteger(v);
    if (n == null || n instanceof BigInteger) return null;
    ms = ((Number) n).longValue();
    if (ms < -62135596800000L || ms > 253402300799999L) return null;
    if (how.get(0) == 'epoch_second') ms = ms * 1000;
  }
  if (ms < -62135596800000L || ms > 253402300799999L) return null;
  if (how.get(1) == 'epoch_millis') return ms;
  if (how.get(1) == 'epoch_second') return floorDiv(ms, 1000L);
  return dateText(ms, (String) how.get(1));
}
`},
	{name: "converted", calls: []string{"scalar", "toText", "toInteger", "toFloat", "toBoolean", "mapped", "dated"}, source: `def converted(def v, String to, def with) {
  v = scalar(v);
  if (to == 'string') return toText(v);
  if (to == 'integer') return toInteger(v);
  if (to == 'float') return toFloat(v);
  if (to == 'map') return mapped(v, (Map) with);
  if (to == 'date') return dated(v, (List) with);
  return toBoolean(v);
}
`},
	{name: "convertList", calls: []string{"converted"}, source: `List convertList(List l, String to, def with, String onError) {
  List out = new ArrayList();
  for (def e : l) {
    if (e == null) { out.add(null); continue; }
    if (e instanceof List) { out.add(convertList((List) e, to, with, onError)); continue; }
    def r = converted(e, to, with);
    if (r != null) { out.add(r); } else if (onError == 'keep') { out.add(e); } else if (onError == 'null') { out.add(null); }
  }
  return out;
}
`},
	{name: "convert", calls: []string{"convertList"}, source: `void convert(def n, List p, int i, String to, def with, String onError) {
  if (n instanceof List) { for (def e : (List) n) convert(e, p, i, to, with, onError); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { convert(m.get(k), p, i + 1, to, with, onError); return; }
  def v = m.get(k);
  if (v == null) return;
  if (v instanceof List) { m.put(k, convertList((List) v, to, with, onError)); return; }
  def r = converted(v, to, with);
  if (r != null) { m.put(k, r); } else if (onError == 'null') { m.put(k, null); } else if (onError == 'remove') { m.remove(k); }
}
`},
}
