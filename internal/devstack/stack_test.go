package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// awaitGone waits until none of the processes exists.
func awaitGone(t *testing.T, pids ...int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, pid := range pids {
		for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
			if err := pause(testContext(t), 10*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestParentDeathTakesTheServersAlong(t *testing.T) {
	dir := serverDir(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+dir)
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var postgres, engine int
	if _, err := fmt.Sscanf(line, "started %d %d", &postgres, &engine); err != nil {
		t.Fatalf("parent said %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	awaitGone(t, postgres, engine)

	// The directory is free again, and what is in it can be used.
	opts := testStack(dir)
	opts.NoEngine = true // its turn is in TestEngineKeepsDataOverStopKillAndRestart
	stack, err := Up(testContext(t), opts)
	if err != nil {
		t.Fatalf("start after the parent's death: %v", err)
	}
	if err := stack.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTwoStacksSideBySide(t *testing.T) {
	var stacks [2]*Stack
	for i := range stacks {
		stack, err := Up(testContext(t), testStack(serverDir(t)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stack.Stop(); err != nil {
				t.Error(err)
			}
		})
		stacks[i] = stack
	}
	mustSend(t, http.MethodPut, stacks[0].Engine.URL()+"/mine", "")
	if status, _ := send(t, http.MethodGet, stacks[1].Engine.URL()+"/mine", ""); status != http.StatusNotFound {
		t.Errorf("the other engine answers %d for our index, want 404", status)
	}
	execute(t, stacks[0].Postgres.DSN(), "create database mine")
	if got := query(t, stacks[1].Postgres.DSN(), "select count(*)::text from pg_database where datname = 'mine'"); got != "0" {
		t.Error("the other server has our database")
	}
}

func TestUpStopsTheOneWhenTheOtherFails(t *testing.T) {
	dir := serverDir(t)
	opts := testStack(dir)
	opts.Engine.Settings = map[string]string{"no.such.setting": "1"}
	if _, err := Up(testContext(t), opts); err == nil || !strings.Contains(err.Error(), "no.such.setting") {
		t.Fatalf("error = %v, want the engine's", err)
	}
	server := startTestPostgres(t, PostgresOptions{Dir: filepath.Join(dir, "postgres")})
	query(t, server.DSN(), "select 'the directory was released'")
}

func TestDetachReadStateDown(t *testing.T) {
	dir := serverDir(t)
	opts := testStack(dir)
	if _, err := ReadState(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("state before: %v, want ErrNotRunning", err)
	}
	if err := Down(testContext(t), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("down before: %v, want ErrNotRunning", err)
	}
	t.Setenv(superviseEnv, dir)
	state, err := Detach(testContext(t), opts, []string{os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(state.PID, syscall.SIGKILL) })
	mustSend(t, http.MethodGet, state.EngineURLs[0], "")
	query(t, state.DatabaseURL, "select 'in'")

	again, err := Detach(testContext(t), opts, []string{"/nonexistent"})
	if err != nil || again.PID != state.PID {
		t.Errorf("second detach = process %d, %v; want the running one, %d", again.PID, err, state.PID)
	}
	other := opts
	other.Engine.Kind = OpenSearch219
	if _, err := Detach(testContext(t), other, []string{"/nonexistent"}); err == nil || !strings.Contains(err.Error(), "runs in") {
		t.Errorf("detach of another engine: %v, want a refusal", err)
	}

	if err := Down(testContext(t), dir); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, append(state.EnginePIDs, state.PostgresPID)...)
	if _, err := ReadState(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("state after down: %v, want ErrNotRunning", err)
	}
	var status syscall.WaitStatus
	_, _ = syscall.Wait4(state.PID, &status, 0, nil)
	if status.ExitStatus() != 0 {
		t.Errorf("supervisor's exit code = %d, want 0", status.ExitStatus())
	}
}

func TestDetachTellsWhyItFailed(t *testing.T) {
	dir := serverDir(t)
	_, err := Detach(testContext(t), Options{Dir: dir}, []string{"/bin/sh", "-c", "echo no luck today; exit 3"})
	if err == nil || !strings.Contains(err.Error(), "no luck today") || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("error = %v, want the command's own words", err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
	defer cancel()
	if _, err := Detach(ctx, Options{Dir: dir}, []string{"/bin/sleep", "1000"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("detach of a command that never gets ready: %v, want the deadline", err)
	}
}

func TestSuperviseEndsWhenAServerDies(t *testing.T) {
	dir := serverDir(t)
	opts := testStack(dir)
	opts.NoEngine = true
	ended := make(chan error, 1)
	go func() { ended <- Supervise(testContext(t), opts) }()
	var state State
	for {
		var err error
		if state, err = ReadState(dir); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("supervise ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := Supervise(testContext(t), opts); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second supervisor: %v, want a refusal", err)
	}
	if err := syscall.Kill(state.PostgresPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "postgres ended") {
			t.Errorf("supervise = %v, want which server ended", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("supervise did not notice")
	}
}
