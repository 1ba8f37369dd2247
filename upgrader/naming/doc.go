// Package naming knows how indices, aliases, templates and partitions of
// tenants are called, and takes such names apart. It has no I/O, and no clock:
// what depends on the day takes the time as an argument.
//
// An IndexName is one name in its parts. A Tenant says under which of its names
// the indices of a release stand: an adopted installation keeps its code name
// until its first upgrade.
package naming
