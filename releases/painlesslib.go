package releases

import "slices"

// function is a Painless function that scripts are made of.
type function struct {
	name   string
	calls  []string
	source string
}

// library holds the twins of the functions in apply.go, convert.go, date.go and filing.go,
// each before its first use. A path is a List with the index to go on from. Loops are for-each where
// they can be: Painless counts the rounds of the others.
var library = slices.Concat(structure, conversion, conditions, filing)

var structure = []function{
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
	{name: "lift", calls: []string{"hollow"}, source: `void lift(def n, List p, int i, List under) {
  if (n instanceof List) { for (def e : (List) n) lift(e, p, i, under); return; }
  if (!(n instanceof Map)) return;
  Map m = (Map) n; def k = p.get(i);
  if (i < p.size() - 1) { lift(m.get(k), p, i + 1, under); return; }
  def o = m.get(k);
  if (!(o instanceof Map)) return;
  for (def e : ((Map) o).entrySet()) { if (!under.contains(e.getKey()) && !hollow(e.getValue())) return; }
  for (def u : under) { def v = ((Map) o).get(u); if (v != null) { m.put(k, v); return; } }
  m.remove(k);
}
`},
}

var conditions = []function{
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
