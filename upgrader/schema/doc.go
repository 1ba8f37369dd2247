// Package schema knows what mappings and settings of indices say, and how two of
// them differ. It has no I/O.
//
// CompareMapping and CompareSettings ask whether an index is what a release
// wants. GapOf tells what a mapping that is there can be given in place, and
// what not. OnlyAdds and CloneSettings say whether an index can be had from
// another one as a whole, and WithLearned spares it to learn again what its
// sources know. Mappings are JSON objects as releases and engines have them;
// what is given is never changed.
package schema
