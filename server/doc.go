// Package server is the transport: gRPC, the REST gateway in front of it and
// Tracardi's own routes. It knows the domains by the interfaces that it declares
// and neither the database nor the search engine.
//
// Begin with server.go, which has these interfaces and puts the parts together,
// and access.go, which says who may call what. interceptor.go is what every call
// goes through, gateway.go and tracardi.go are the ways in by HTTP. The other
// files translate one service of proto/tms/v1 each, and decide nothing. An error
// becomes a status in status.go; reasons.go lists all of them, with the remedy,
// and docs/errors.md is made from it.
package server
