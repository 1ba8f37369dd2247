package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/internal/devstack"
)

// devStartLimit includes fetching the engine's jars on a new machine.
const devStartLimit = 20 * time.Minute

// startDev brings up what is missing and fills in the settings that lead to
// it. A stack that `tms dev up` runs in the same directory is used as it is.
// Postgres is always the embedded one: --dev migrates without asking, and must
// not do that to a database that DATABASE_URL happens to name.
func startDev(ctx context.Context, s *config.Serve, log *slog.Logger, done *closers) (Addresses, error) {
	dir, err := s.Dir()
	if err != nil {
		return Addresses{}, err
	}
	if s.DatabaseURL != "" {
		log.Warn("DATABASE_URL is ignored with --dev")
	}
	where, err := devKeys(dir, s)
	if err != nil {
		return Addresses{}, err
	}
	if err := devServers(ctx, dir, s, log, done); err != nil {
		return Addresses{}, err
	}
	for _, raw := range s.ElasticURLs {
		where.ElasticURLs = append(where.ElasticURLs, config.MaskURL(raw))
	}
	return where, nil
}

func devServers(ctx context.Context, dir string, s *config.Serve, log *slog.Logger, done *closers) error {
	ownEngine := len(s.ElasticURLs) == 0
	state, err := devstack.ReadState(dir)
	if err == nil && (!ownEngine || len(state.EngineURLs) > 0) && state.DatabaseURL != "" {
		s.DatabaseURL = state.DatabaseURL
		if ownEngine {
			s.ElasticURLs = state.EngineURLs
		}
		return nil
	}
	if err != nil && !errors.Is(err, devstack.ErrNotRunning) {
		return err
	}
	log.Info("starting embedded servers", "dir", dir)
	starting, cancel := context.WithTimeout(ctx, devStartLimit)
	defer cancel()
	stack, err := devstack.Up(starting, devstack.Options{
		Dir: dir, NoEngine: !ownEngine, Engine: devstack.EngineOptions{Kind: devstack.EngineKind(s.DevEngine)},
	})
	if err != nil {
		return fmt.Errorf("embedded servers: %w", err)
	}
	done.add("embedded servers", func(context.Context) error { return stack.Stop() })
	s.DatabaseURL = stack.Postgres.DSN()
	if ownEngine {
		s.ElasticURLs = stack.Engine.URLs()
	}
	return nil
}

// devKeys fills in secrets that the environment does not give: generated once
// and kept, so that tokens and keys outlive a restart.
func devKeys(dir string, s *config.Serve) (Addresses, error) {
	where := Addresses{DevDir: dir}
	for _, k := range []struct {
		file  string
		value *string
		shown *string
	}{
		{"secret", &s.Secret, nil},
		{"admin.key", &s.AdminKey, &where.AdminKeyFile},
		{"instance.key", &s.InstanceKey, &where.InstanceKeyFile},
	} {
		if *k.value != "" {
			continue // the environment's
		}
		path := filepath.Join(dir, k.file)
		value, err := keptSecret(path)
		if err != nil {
			return where, err
		}
		*k.value = value
		if k.shown != nil {
			*k.shown = path
		}
	}
	return where, nil
}

// keptSecret reads a secret, or makes one that only its owner can read.
func keptSecret(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("directory of the embedded servers: %w", err)
	}
	fresh := strings.ToLower(rand.Text() + rand.Text())
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		kept, err := os.ReadFile(path)
		if value := strings.TrimSpace(string(kept)); err == nil && value != "" {
			return value, nil
		}
		return "", fmt.Errorf("%s holds no secret: remove it, and a new one is made", path)
	}
	if err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	_, err = f.WriteString(fresh + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return fresh, nil
}
