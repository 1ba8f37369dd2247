package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/cmd/tms/internal/service"
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service: gRPC, REST, Tracardi's routes, and the upgrade workers",
		Long: `Run the service: gRPC, REST, Tracardi's routes, and the upgrade workers.

The first line on standard output is JSON with the addresses; logs go to standard error.
Needs DATABASE_URL, TMS_ELASTIC_URLS and SECRET, or --dev.`,
		Example: "  tms serve --dev\n  DATABASE_URL=postgres://… TMS_ELASTIC_URLS=http://… SECRET_FILE=/run/secrets/tms tms serve --migrate",
		RunE:    a.serve,
	}
	config.Bind(cmd.Flags(), &config.Serve{})
	return cmd
}

func (a *app) serve(cmd *cobra.Command, _ []string) error {
	var s config.Serve
	if err := config.Load(&s, cmd.Flags(), a.env); err != nil {
		return usage(cmd, err)
	}
	if !s.DevMode {
		if err := s.Check(); err != nil {
			return usage(cmd, err)
		}
	}
	log := newLogger(a.err, s.Logging)
	err := service.Run(cmd.Context(), s, log, func(where service.Addresses) error { return a.announce(s, where) })
	if cmd.Context().Err() != nil && errors.Is(err, cmd.Context().Err()) {
		return nil // told to stop while starting
	}
	return err
}

// announce tells programs and people where to go.
func (a *app) announce(s config.Serve, where service.Addresses) error {
	if _, err := a.out.Write(where.Line()); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	if s.AddrFile != "" {
		if err := where.WriteFile(s.AddrFile); err != nil {
			return err
		}
	}
	if !s.DevMode {
		return nil
	}
	scheme, address := "http", where.GRPC
	if where.TLS {
		scheme, address = "https", "https://"+where.GRPC
	}
	_, err := fmt.Fprintf(a.err, `
TMS is ready.
  gRPC            %s
  REST            %s://%s
  search engine   %v
  data and keys   %s

Talk to it from another terminal:
  export TMS_ADDR=%s
`, where.GRPC, scheme, where.HTTP, where.ElasticURLs, where.DevDir, address)
	if err == nil && where.AdminKeyFile != "" {
		_, err = fmt.Fprintf(a.err, "  export TMS_API_KEY_FILE=%s\n", where.AdminKeyFile)
	}
	if err == nil {
		_, err = fmt.Fprintf(a.err, "  tms release list\n\n")
	}
	return err
}

func newLogger(w io.Writer, s config.Logging) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel.Level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
