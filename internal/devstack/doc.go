// Package devstack runs a real PostgreSQL and a real search engine as child
// processes, for `tms demo`, `tms dev`, `tms serve --dev` and every test.
//
// Nothing here is meant for production: the servers listen on the loopback
// interface (or a private unix socket) only, hold their data in a directory of
// the caller's choice, and end when the process that started them ends,
// however it ends.
//
// Start one server with [StartPostgres] or [StartEngine], both with [Up]. A
// directory belongs to one running server at a time; a second start in the
// same directory finds the data of the first and is quick. [Supervise],
// [Detach], [ReadState] and [Down] are the same thing as a background process.
//
// The PostgreSQL programs come from the machine (see [PostgresOptions.Bin]).
// The engines are assembled from published jars: the first start of a kind
// resolves them with Maven and compiles a small launcher into a per-user cache
// (environment TMS_DEV_CACHE, default <user cache dir>/tms).
package devstack
