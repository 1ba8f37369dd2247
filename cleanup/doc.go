// Package cleanup removes versions of Tracardi's indices that nobody uses any
// more: by exact names, which a plan lists and a digest stands for, never by a
// pattern, and never while an alias or a tenant is on the version.
//
// A plan writes nothing. Its digest, given to Run, makes sure that what was
// looked at is what is deleted. The work is an operation (AIP-151) in the
// database: any process goes on with it, in turns that leave the engine time.
package cleanup
