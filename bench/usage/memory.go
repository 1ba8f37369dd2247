package usage

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
)

// ResetPeak gives memory back that is not used and starts to measure the peak
// of this process's resident memory anew.
func ResetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // else the peak is that since the start
}

// Peak is the most resident memory that this process has had since ResetPeak,
// in bytes; 0 where /proc does not tell.
func Peak() int64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, ok := bytes.Cut(raw, []byte("VmHWM:"))
	fields := bytes.Fields(after)
	if !ok || len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}
