package devstack

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed engines
var engineFiles embed.FS

const (
	// installLimit bounds the first start on a slow line (about 60 MB of jars).
	installLimit = 15 * time.Minute
	// oldestJava is what the launcher and all three engines run on.
	oldestJava = 17
	// copyJars is pinned so that every machine resolves alike.
	copyJars = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
	// cacheEnv overrides the per-user cache directory.
	cacheEnv = "TMS_DEV_CACHE"
)

// installation is one assembled engine in the cache: immutable once there.
type installation struct {
	java string // path of the java program
	dir  string // holds lib/*.jar and classes/
}

// CacheDir is where assembled engines are kept: TMS_DEV_CACHE, or the
// directory tms of the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv(cacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w: set %s", err, cacheEnv)
	}
	return filepath.Join(dir, "tms"), nil
}

// Install assembles an engine in the cache unless it is there: the only step
// that needs Maven, javac and, when Maven has not seen the jars before, a
// network. Processes that do so at once wait for each other.
func Install(ctx context.Context, kind EngineKind) error {
	_, err := install(ctx, kind)
	return err
}

func install(ctx context.Context, kind EngineKind) (installation, error) {
	java, err := findJava("java")
	if err != nil {
		return installation{}, err
	}
	cache, err := CacheDir()
	if err != nil {
		return installation{}, err
	}
	digest, err := sourceDigest(kind)
	if err != nil {
		return installation{}, err
	}
	engines := filepath.Join(cache, "engines")
	target := installation{java: java, dir: filepath.Join(engines, string(kind)+"-"+digest)}
	if isDir(target.dir) {
		return target, nil
	}
	if err := os.MkdirAll(engines, 0o755); err != nil {
		return installation{}, fmt.Errorf("create engine cache: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	lock, err := waitLock(ctx, target.dir+".lock")
	if err != nil {
		return installation{}, fmt.Errorf("another process assembles %s: %w", kind, err)
	}
	defer lock.unlock()
	if isDir(target.dir) {
		return target, nil
	}
	if err := assemble(ctx, kind, java, target.dir); err != nil {
		return installation{}, fmt.Errorf("assemble %s: %w", kind, err)
	}
	return target, nil
}

// assemble builds next to target and renames at the end, so that a directory
// of that name is always complete.
func assemble(ctx context.Context, kind EngineKind, java, target string) error {
	javac, err := findJava("javac")
	if err != nil {
		return err
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("program mvn not found: install Maven, on Debian with `apt-get install maven`")
	}
	if err := checkJavaVersion(ctx, java); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(target), ".assembling-")
	if err != nil {
		return fmt.Errorf("create work directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.CopyFS(work, mustSub(kind)); err != nil {
		return fmt.Errorf("write sources: %w", err)
	}
	if err := runTool(ctx, work, mvn, "-q", "-B", copyJars, "-DoutputDirectory=lib", "-DincludeScope=runtime"); err != nil {
		return fmt.Errorf("resolve jars: %w", err)
	}
	sources, err := filepath.Glob(filepath.Join(work, "java", "*.java"))
	if err != nil {
		return fmt.Errorf("list sources: %w", err)
	}
	args := append([]string{"-nowarn", "-proc:none", "-d", "classes", "-cp", filepath.Join("lib", "*")}, sources...)
	if err := runTool(ctx, work, javac, args...); err != nil {
		return fmt.Errorf("compile launcher: %w", err)
	}
	logging, err := engineFiles.ReadFile("engines/log4j2.properties")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "classes", "log4j2.properties"), logging, 0o644); err != nil {
		return fmt.Errorf("write logging configuration: %w", err)
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, target)
}

func mustSub(kind EngineKind) fs.FS {
	sub, err := fs.Sub(engineFiles, path.Join("engines", string(kind)))
	if err != nil {
		panic(err) // the names of blueprints are valid paths
	}
	return sub
}

func runTool(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, lastLines(string(out), 10))
	}
	return nil
}

// sourceDigest changes with every byte the assembled engine depends on.
func sourceDigest(kind EngineKind) (string, error) {
	hash := sha256.New()
	add := func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := engineFiles.ReadFile(name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(hash, "%s %d\n%s", name, len(data), data)
		return err
	}
	for _, root := range []string{path.Join("engines", string(kind)), "engines/log4j2.properties"} {
		if err := fs.WalkDir(engineFiles, root, add); err != nil {
			return "", fmt.Errorf("read embedded sources of %s: %w", kind, err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:6]), nil
}

// findJava looks for a JDK program in JAVA_HOME, then PATH.
func findJava(program string) (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if found, err := exec.LookPath(filepath.Join(home, "bin", program)); err == nil {
			return found, nil
		}
	}
	found, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("program %s not found in JAVA_HOME or PATH: install a JDK 17, on Debian with `apt-get install openjdk-17-jdk-headless`", program)
	}
	return found, nil
}

// versionPattern finds the major version in `java -version`, also of Java 8
// and older, which call themselves 1.8.
var versionPattern = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

func checkJavaVersion(ctx context.Context, java string) error {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w: %s", java, err, lastLines(string(out), 3))
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return nil // an unknown vendor's wording; let it try
	}
	if major, err := strconv.Atoi(string(match[1])); err == nil && major < oldestJava {
		return fmt.Errorf("%s is Java %d, the engines need %d: install a JDK 17, on Debian with `apt-get install openjdk-17-jdk-headless`, or set JAVA_HOME", java, major, oldestJava)
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return strings.Join(lines, "\n")
}
