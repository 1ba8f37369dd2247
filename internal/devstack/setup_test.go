package devstack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSetupScriptNamesWhatIsMissing runs scripts/setup.sh as an ordinary user
// on a machine that has nothing.
func TestSetupScriptNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "id"), []byte("#!/bin/sh\necho 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", filepath.Join("..", "..", "scripts", "setup.sh"))
	cmd.Env = []string{"PATH=" + bin, "TMS_DEV_POSTGRES_BIN=" + bin}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit = %v, want code 1", err)
	}
	want := "setup: missing: a JDK 17 (java and javac), Maven (mvn), the PostgreSQL server (initdb and postgres), make, curl, " +
		"Python 3.10 or later with venv, a C compiler (gcc, for go test -race); on Debian: apt-get install openjdk-17-jdk-headless maven postgresql make curl python3 python3-venv gcc libc6-dev.\n"
	if string(out) != want {
		t.Errorf("setup.sh said\n%swant\n%s", out, want)
	}
}

// TestAssembleNeedsJavacAndMaven covers machines with a Java runtime only.
func TestAssembleNeedsJavacAndMaven(t *testing.T) {
	java, err := findJava("java")
	if err != nil {
		t.Fatal(err)
	}
	javac, err := findJava("javac")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("JAVA_HOME", "")
	t.Setenv("TMS_DEV_CACHE", t.TempDir())
	for _, step := range []struct{ program, target, want string }{
		{"java", java, "program javac not found"},
		{"javac", javac, "program mvn not found"},
	} {
		if err := os.Symlink(step.target, filepath.Join(bin, step.program)); err != nil {
			t.Fatal(err)
		}
		err := Install(testContext(t), Elasticsearch717)
		if err == nil || !strings.Contains(err.Error(), step.want) || !strings.Contains(err.Error(), "apt-get install") {
			t.Errorf("with %s: error = %v, want %q and the remedy", step.program, err, step.want)
		}
	}
}

func TestOldJavaIsRefused(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "java")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := checkJavaVersion(testContext(t), old)
	if err == nil || !strings.Contains(err.Error(), "is Java 8") {
		t.Errorf("error = %v, want that it is Java 8", err)
	}
}

func TestTemporaryDirSweepsWhatTheDeadLeft(t *testing.T) {
	t.Parallel()
	purpose := "sweep-test-" + strings.ToLower(filepath.Base(t.TempDir())) + shortHash(t.TempDir())
	alive, release, err := TemporaryDir(purpose)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(alive)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	dead := filepath.Join(root, "dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dead+lockSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, releaseOther, err := TemporaryDir(purpose)
	if err != nil {
		t.Fatal(err)
	}
	defer releaseOther()
	if isDir(dead) {
		t.Error("the directory of a dead process is still there")
	}
	if !isDir(alive) {
		t.Error("the directory of a living process was removed")
	}
	release()
	if isDir(alive) {
		t.Error("a released directory is still there")
	}
}
