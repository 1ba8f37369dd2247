// Package e2e holds the end-to-end tests: TMS as the processes that an operator
// runs, on real servers, with tenants that are written to, judged from outside.
//
// TMS_E2E_SEED makes the choices of a run (documents, writes, moments of death)
// those of an earlier one; every run prints its seed. TMS_E2E_BINARY names a
// tms program to test instead of one built from the tree.
package e2e
