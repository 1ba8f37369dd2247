// Package strategy is what an operator says about the way of a rollout: its
// waves, what has to be true between them, how many tenants may fail, and in
// which hours tenants may start.
//
// Parse reads a File, and File.Problems lists all that is wrong with it, each
// with its line; Schema describes it to editors. Everything else relies on a
// File without problems. Assign puts Tenants into Groups, one for each wave,
// with the Rule that holds after it, and says in Objections what does not fit
// the tenants that there are. OpenAt tells whether a Window is open. Nothing
// here does anything: what waves go through is the upgrader's.
package strategy
