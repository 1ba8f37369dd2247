// Package skew builds a program whose clock can be set from outside, without a
// trace of that in the program's source: the compiler is given another package
// time (go build -overlay), in which the clock on the wall may run ahead or
// behind while the monotonic one goes on, as after a jump of the machine's.
package skew

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// EnvFile names, to a program that was built here, the file that Set writes.
const EnvFile = "TMS_ROBUSTNESS_CLOCK"

// reading is the line of time.Now that asks the kernel, and clock what
// replaces it.
const (
	reading = "\tsec, nsec, mono := runtimeNow()\n"
	clock   = reading + "\tsec += skew.Load()\n"
)

// setter is added to package time.
const setter = `package time

import "sync/atomic"

var skew atomic.Int64

// SetSkew makes Now say so many seconds more.
func SetSkew(seconds int64) { skew.Store(seconds) }
`

// follower is added to the program.
const follower = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	name := os.Getenv("` + EnvFile + `")
	if name == "" {
		return
	}
	follow := func() {
		text, err := os.ReadFile(name)
		if err != nil {
			return
		}
		if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			time.SetSkew(seconds)
		}
	}
	follow()
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			follow()
		}
	}()
}
`

// Build compiles the main package in dir, a folder of the module in the
// working directory, to output. work keeps what is needed meanwhile. The first
// build compiles the standard library anew, which takes about a minute of CPU.
func Build(ctx context.Context, dir, output, work string) error {
	root, err := goEnv(ctx, "GOROOT")
	if err != nil {
		return err
	}
	mod, err := goEnv(ctx, "GOMOD")
	if err != nil {
		return err
	}
	original := filepath.Join(root, "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	if bytes.Count(text, []byte(reading)) != 1 {
		return fmt.Errorf("%s reads the clock in another way than this harness knows; its clock cannot be set: leave the fault out (--faults all,-clock)", original)
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	replace := map[string]string{}
	for target, content := range map[string]string{
		original: strings.Replace(string(text), reading, clock, 1),
		filepath.Join(root, "src", "time", "skew.go"):        setter,
		filepath.Join(filepath.Dir(mod), dir, "zz_clock.go"): follower,
	} {
		name := filepath.Join(work, filepath.Base(target))
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
		replace[target] = name
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	name := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", name, "-o", output, "./"+dir)
	cmd.Dir = filepath.Dir(mod)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s with a clock that can be set: %w\n%s", dir, err, out)
	}
	return nil
}

func goEnv(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", name).Output()
	if err != nil {
		return "", fmt.Errorf("go env %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Set makes the clock of the programs that follow the file be off by so much,
// in whole seconds, within a tenth of a second.
func Set(file string, off time.Duration) error {
	// Renamed, so that nobody reads half of it.
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(strconv.FormatInt(int64(off/time.Second), 10)), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}
