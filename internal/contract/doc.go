// Package contract holds the tests that ask TMS what Tracardi's containers
// ask, in their language: a `tms serve` of this tree, Postgres, Python.
package contract
