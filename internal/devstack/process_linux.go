package devstack

import "syscall"

// dieWithParent asks the kernel to signal the child when this process ends,
// even by SIGKILL.
func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }
