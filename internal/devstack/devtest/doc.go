// Package devtest gives tests a real PostgreSQL and a real search engine.
//
// The servers are shared. Where TMS_TEST_DATABASE_URL and TMS_TEST_ELASTIC_URL
// are set (`withstack`, and so `make test`, sets them) those are used.
// Otherwise the first test that asks starts one for its test binary; it ends
// with the process. Isolation is by name: every test has a [Database] of its
// own and works under its own tenant id from [Prefix].
//
// Nothing is ever skipped: a server that cannot be started fails the test with
// the reason and its remedy.
//
// Environment:
//
//	TMS_TEST_DATABASE_URL         URL of a maintenance database, superuser
//	TMS_TEST_ELASTIC_URL          base URL of an engine of kind TMS_DEV_ENGINE
//	TMS_TEST_ELASTIC_URL_<KIND>   of another kind, e.g. …_OPENSEARCH_2_19
//	TMS_DEV_ENGINE                kind of the default engine
package devtest
