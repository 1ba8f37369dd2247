// Package usage tells the benchmarks what processes use.
package usage

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// OwnCPU is the CPU time that this process has used so far.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ProcessCPU is that of another process; 0 where /proc does not tell.
func ProcessCPU(pid int) time.Duration {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The fields after the name, which may hold spaces and ends in ")": user
	// time is the 12th of them, system time the 13th, in ticks of 10 ms.
	_, after, _ := bytes.Cut(raw, []byte(") "))
	fields := bytes.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// MachineCPU is the CPU time that all processes of the machine have used; 0
// where /proc does not tell.
func MachineCPU() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	var ticks int64
	for i, f := range bytes.Fields(line) {
		const idle, wait = 4, 5
		if i == 0 || i == idle || i == wait {
			continue // the name, and time in which nothing ran
		}
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
