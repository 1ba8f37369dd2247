// Package elastic is the adapter to the search cluster: one client for
// Elasticsearch 7.10–9 and OpenSearch 1–3 that implements upgrader.Engine.
//
// It speaks plain JSON through elastictransport and the request structs of
// esapi. The clients of go-elasticsearch are not used: they refuse servers
// that do not call themselves Elasticsearch ≥ 7.14, after the call was
// executed, and they repeat calls that must not be repeated.
//
// Begin with client.go and call.go: how a call is made, by when it must have an
// answer, and whether it may be repeated; failure.go makes what comes back into
// an upgrader.EngineError. capability.go says which engines and versions there
// are and what each can do. The other files are named after what they ask for. pool.go finds the client of a cluster by name.
package elastic
