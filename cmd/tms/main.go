// Command tms is the tenant management service of multi-tenant Tracardi, and
// the tool to talk to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tracardi/tms/cmd/tms/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv))
}
