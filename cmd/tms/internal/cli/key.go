package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list, rotate and revoke API keys"}
	clientFlags(cmd)
	cmd.AddCommand(a.keyCreateCommand(), a.keyListCommand(), a.keyRotateCommand(), a.keyRevokeCommand())
	return cmd
}

func (a *app) keyCreateCommand() *cobra.Command {
	var name, role string
	var only []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create --role ROLE --name TEXT", Short: "Make an API key; its secret is shown this once",
		Long: `Make an API key; its secret is shown this once.

Roles: instance (Tracardi containers: tokens, checks, and Tracardi's routes to list,
register and delete tenants; with --tenant only those), viewer (reads all but
secrets), provisioner (viewer, and changes tenants), operator (viewer, and runs
upgrades, backups, cleanups and purges), admin (everything).`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		request := &tmsv1.CreateApiKeyRequest{DisplayName: name, Role: role, Tenants: only}
		if ttl != 0 {
			request.Ttl = durationpb.New(ttl)
		}
		made, err := call(ctx, s, s.keys.Create, request)
		return a.printSecret(s, made, err)
	})
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringVar(&role, "role", "", "instance, viewer, provisioner, operator or admin")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "lifetime, such as 720h; default is no expiry")
	cmd.Flags().StringArrayVar(&only, "tenant", nil, "restrict the key to this tenant; may be repeated")
	needs(cmd, "name", "role")
	return cmd
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List API keys, without their secrets",
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
			var all []*tmsv1.ApiKey
			for token := ""; ; {
				page, err := call(ctx, s, s.keys.List, &tmsv1.ListApiKeysRequest{PageSize: listPage, PageToken: token})
				if err != nil {
					return err
				}
				all = append(all, page.GetApiKeys()...)
				if token = page.GetNextPageToken(); token == "" {
					return a.printKeys(s, all)
				}
			}
		}),
	}
}

func (a *app) printKeys(s *session, all []*tmsv1.ApiKey) error {
	if s.json {
		return writeMessages(a.out, all)
	}
	var rows [][]string
	for _, k := range all {
		rows = append(rows, []string{k.GetId(), k.GetRole(), k.GetState(), k.GetDisplayName(), strings.Join(k.GetTenants(), " "), stamp(k.GetCreateTime()), stamp(k.GetExpireTime()), stamp(k.GetLastUseTime()), k.GetSuccessorId()})
	}
	return writeTable(a.out, []string{"key", "role", "state", "name", "tenants", "created", "expires", "last use", "successor"}, rows)
}

func (a *app) keyRotateCommand() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Make a successor of a key; the old one works on for the overlap",
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		request := &tmsv1.RotateApiKeyRequest{Id: args[0]}
		if cmd.Flags().Changed("overlap") {
			request.Overlap = durationpb.New(overlap)
		}
		made, err := call(ctx, s, s.keys.Rotate, request)
		return a.printSecret(s, made, err)
	})
	cmd.Flags().DurationVar(&overlap, "overlap", time.Hour, "how long the old key works on, at most 720h; 0 after a leak")
	return cmd
}

func (a *app) keyRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Refuse a key, and every token made from it, from now on",
		Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			k, err := call(ctx, s, s.keys.Revoke, &tmsv1.RevokeApiKeyRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, k)
			}
			_, err = fmt.Fprintf(a.out, "key %s is revoked\n", k.GetId())
			return err
		}),
	}
}

// printSecret prints the secret to standard output and the rest beside it.
func (a *app) printSecret(s *session, made *tmsv1.ApiKeySecret, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, made)
	}
	k := made.GetApiKey()
	return writeFields(a.out, "key", k.GetId(), "role", k.GetRole(), "name", k.GetDisplayName(), "expires", stamp(k.GetExpireTime()), "secret (not shown again)", made.GetSecret())
}
