//go:build !linux

package devstack

import "syscall"

// dieWithParent can do nothing: only Linux has a parent-death signal, so
// elsewhere the servers outlive a parent that is killed with SIGKILL.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
