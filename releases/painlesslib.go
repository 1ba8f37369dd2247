package releases

// function is a Painless function that scripts are made of.
type function struct {
	name   string
	calls  []string
	source string
}

// library holds the twins of the functions in apply.go, each before its first
// use. A path is a List with the index to go on from. Loops are for-each where
// they can be: Painless counts the rounds of the others.
var library = []function{
	{name: "dup", source: `def dup(def v) {
  if (v instanceof List) { List l = new ArrayList(); for (def e : (List) v) l.add(dup(e)); return l; }
  if (v instanceof Map) { Map m = new HashMap(); for (def e : ((Map) v).entrySet()) m.put(e.getKey(), dup(e.getValue())); return m; }
  return v;
}
`},
	{name: "put", calls: []string{"dup"}, source: `void put(def n, List p, int i, def v, boolean missing) {
  if (n instanceof List) { for (def e : (List) n) put(e, p, i, v, missing); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i == p.size() - 1) { if (!missing || m.get(k) == null) m.put(k, dup(v)); return; }
  if (m.get(k) == null) m.put(k, new HashMap());
  put(m.get(k), p, i + 1, v, missing);
}
`},
	{name: "moveWithin", calls: []string{"put"}, source: `void moveWithin(Map n, List from, List to, String onto, boolean copying) {
  Map source = n; int last = from.size() - 1;
  for (int i = 0; i < last; i++) { def x = source.get(from.get(i)); if (!(x instanceof Map)) return; source = (Map) x; }
  def k = from.get(last); def v = source.get(k);
  if (v == null) { if (!copying) source.remove(k); return; }
  def held = n;
  for (def key : to) { if (held == null) break; if (!(held instanceof Map)) return; held = ((Map) held).get(key); }
  if (held != null && onto != 'replace') { if (onto == 'discard') source.remove(k); return; }
  if (!copying) source.remove(k);
  put(n, to, 0, v, false);
}
`},
	{name: "move", calls: []string{"moveWithin"}, source: `void move(def n, List shared, int i, List from, List to, String onto, boolean copying) {
  if (n instanceof List) { for (def e : (List) n) move(e, shared, i, from, to, onto, copying); return; }
  if (!(n instanceof Map)) return;
  if (i < shared.size()) { move(((Map) n).get(shared.get(i)), shared, i + 1, from, to, onto, copying); return; }
  moveWithin((Map) n, from, to, onto, copying);
}
`},
	{name: "hollow", source: `boolean hollow(def v) {
  if (v == null) return true;
  if (v instanceof List) { for (def e : (List) v) { if (!hollow(e)) return false; } return true; }
  if (v instanceof Map) { for (def e : ((Map) v).values()) { if (!hollow(e)) return false; } return true; }
  return false;
}
`},
	{name: "remove", calls: []string{"hollow"}, source: `void remove(def n, List p, int i, boolean empty) {
  if (n instanceof List) { for (def e : (List) n) remove(e, p, i, empty); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { remove(m.get(k), p, i + 1, empty); return; }
  if (!empty || hollow(m.get(k))) m.remove(k);
}
`},
	{name: "holdsObject", source: `boolean holdsObject(def v) {
  if (v instanceof List) { for (def e : (List) v) { if (holdsObject(e)) return true; } return false; }
  return v instanceof Map;
}
`},
	{name: "wrap", calls: []string{"holdsObject", "dup"}, source: `void wrap(def n, List p, int i, List under) {
  if (n instanceof List) { for (def e : (List) n) wrap(e, p, i, under); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { wrap(m.get(k), p, i + 1, under); return; }
  def v = m.get(k);
  if (v == null || holdsObject(v)) return;
  Map o = new HashMap(); for (def u : under) o.put(u, dup(v));
  m.put(k, o);
}
`},
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
	{name: "converted", calls: []string{"scalar", "toText", "toInteger", "toFloat", "toBoolean"}, source: `def converted(def v, String to) {
  v = scalar(v);
  if (to == 'string') return toText(v);
  if (to == 'integer') return toInteger(v);
  if (to == 'float') return toFloat(v);
  return toBoolean(v);
}
`},
	{name: "convertList", calls: []string{"converted"}, source: `List convertList(List l, String to, String onError) {
  List out = new ArrayList();
  for (def e : l) {
    if (e == null) { out.add(null); continue; }
    if (e instanceof List) { out.add(convertList((List) e, to, onError)); continue; }
    def r = converted(e, to);
    if (r != null) { out.add(r); } else if (onError == 'keep') { out.add(e); } else if (onError == 'null') { out.add(null); }
  }
  return out;
}
`},
	{name: "convert", calls: []string{"convertList"}, source: `void convert(def n, List p, int i, String to, String onError) {
  if (n instanceof List) { for (def e : (List) n) convert(e, p, i, to, onError); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { convert(m.get(k), p, i + 1, to, onError); return; }
  def v = m.get(k);
  if (v == null) return;
  if (v instanceof List) { m.put(k, convertList((List) v, to, onError)); return; }
  def r = converted(v, to);
  if (r != null) { m.put(k, r); } else if (onError == 'null') { m.put(k, null); } else if (onError == 'remove') { m.remove(k); }
}
`},
	{name: "kindOf", source: `String kindOf(def v) {
  if (v instanceof String) return 'string';
  if (v instanceof Number) return 'number';
  if (v instanceof Boolean) return 'boolean';
  if (v instanceof List) return 'list';
  return 'object';
}
`},
	{name: "same", calls: []string{"scalar", "whole"}, source: `boolean same(def x, def v) {
  x = scalar(x);
  if (x instanceof List) { for (def e : (List) x) { if (same(e, v)) return true; } return false; }
  if (x instanceof Number) {
    if (!(v instanceof Number)) return false;
    if (whole(x) && whole(v)) return x.toString().equals(v.toString());
    return ((Number) x).doubleValue() == ((Number) v).doubleValue();
  }
  return (x instanceof String || x instanceof Boolean) && x.equals(v);
}
`},
	{name: "holds", calls: []string{"scalar", "kindOf", "same"}, source: `boolean holds(def n, List p, int i, String test, def v) {
  if (i == p.size()) {
    if (test == 'equals') return same(n, v);
    return n != null && (test == 'present' || test == kindOf(scalar(n)));
  }
  if (n instanceof List) { for (def e : (List) n) { if (holds(e, p, i, test, v)) return true; } return false; }
  if (!(n instanceof Map)) return false;
  return holds(((Map) n).get(p.get(i)), p, i + 1, test, v);
}
`},
}
