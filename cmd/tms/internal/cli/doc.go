// Package cli is the command line of tms. A command parses flags, calls one
// thing and prints what it says; the things themselves are elsewhere.
//
// Begin with root.go, which has the tree of commands, and client.go, which has
// what those share that call the service. output.go prints tables for people and
// JSON for programs, exit.go maps errors to exit codes, bars.go, meter.go and
// watch.go show progress. A file has the commands of one noun; a
// noun with many is divided by verb.
package cli
