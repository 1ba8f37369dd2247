// Package estimate tells from what tenants took what others will take. It has no
// I/O and no clock.
//
// Samples are what was measured. Fit puts a Model through them, which answers
// with a Span, because one number would be wrong; a Rate is the shorter summary
// that plans show.
package estimate
