package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "Name the search clusters in which tenants live",
		Long: `Name the search clusters in which tenants live.

The cluster "default" is that of the settings TMS_ELASTIC_* of tms serve; others
are added here. A tenant lives in one and stays there.`,
	}
	clientFlags(cmd)
	cmd.AddCommand(a.clusterAddCommand(), a.clusterListCommand(), a.clusterShowCommand(), a.clusterUpdateCommand(), a.clusterRemoveCommand(), a.clusterVerifyCommand())
	return cmd
}

// clusterFlags say how a cluster is reached. Secrets come from files, because
// a process list shows flags to everybody.
type clusterFlags struct {
	urls                                      []string
	user, password, apiKey, caFile, certPrint string
	dry                                       bool
}

func (f *clusterFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.urls, "url", nil, "node, https://host:9200; may be repeated")
	cmd.Flags().StringVar(&f.user, "user", "", "user to log in as")
	cmd.Flags().StringVar(&f.password, "password-file", "", "file with the user's password; - for standard input")
	cmd.Flags().StringVar(&f.apiKey, "api-key-file", "", "file with an encoded API key, instead of user and password; - for standard input")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "PEM file with the authorities to trust instead of the system's")
	cmd.Flags().StringVar(&f.certPrint, "fingerprint", "", "SHA-256 fingerprint of the cluster's certificate or of its authority, to trust instead of any other")
}

// given is what the flags say: the cluster, its secrets, and the fields that
// were given.
func (f *clusterFlags) given(cmd *cobra.Command, name string) (c *tmsv1.Cluster, password, key string, mask []string, err error) {
	c = &tmsv1.Cluster{Name: name, Urls: f.urls, Username: f.user, Fingerprint: f.certPrint}
	if password, err = secretFile(cmd, "password-file", f.password); err != nil {
		return nil, "", "", nil, err
	}
	if key, err = secretFile(cmd, "api-key-file", f.apiKey); err != nil {
		return nil, "", "", nil, err
	}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, "", "", nil, usage(cmd, fmt.Errorf("--ca-file: %w", err))
		}
		c.CaCert = string(pem)
	}
	for _, field := range []struct{ flag, name string }{
		{"url", "urls"}, {"user", "username"}, {"password-file", "password"}, {"api-key-file", "api_key"}, {"ca-file", "ca_cert"}, {"fingerprint", "fingerprint"},
	} {
		if cmd.Flags().Changed(field.flag) {
			mask = append(mask, field.name)
		}
	}
	return c, password, key, mask, nil
}

// maxSecret bounds what is read as a secret: a key, not a disk.
const maxSecret = 64 << 10

// secretFile reads a secret from the file that a flag names.
func secretFile(cmd *cobra.Command, flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	from := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", usage(cmd, fmt.Errorf("--%s: %w", flag, err))
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	switch {
	case err != nil:
		return "", usage(cmd, fmt.Errorf("--%s: %w", flag, err))
	case len(text) > maxSecret:
		return "", usage(cmd, fmt.Errorf("--%s: holds more than %d bytes: is it the right file?", flag, maxSecret))
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", usage(cmd, fmt.Errorf("--%s: is empty", flag))
	}
	return secret, nil
}

func (a *app) clusterAddCommand() *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use: "add NAME --url URL", Short: "Name a cluster, after it has answered",
		Long: `Name a cluster, after it has answered. Its password or API key is stored
encrypted under SECRET and never shown again.`,
		Example: "  tms cluster add eu --url https://es-eu-1:9200,https://es-eu-2:9200 --user tms --password-file /run/secrets/eu --ca-file eu-ca.pem\n" +
			"  tms cluster add us --url https://es-us:9200 --api-key-file /run/secrets/us --fingerprint 7a1c…",
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		c, password, key, _, err := f.given(cmd, args[0])
		if err != nil {
			return err
		}
		added, err := call(ctx, s, s.clusters.Add, &tmsv1.AddClusterRequest{Cluster: c, Password: password, ApiKey: key, ValidateOnly: f.dry})
		return a.printCluster(s, added, err)
	})
	f.bind(cmd)
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "check everything, change nothing")
	needs(cmd, "url")
	return cmd
}

func (a *app) clusterUpdateCommand() *cobra.Command {
	var f clusterFlags
	var etag string
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change how a cluster is reached, after it has answered that way",
		Args:    cobra.ExactArgs(1),
		Example: "  tms cluster update eu --password-file /run/secrets/eu-new",
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		c, password, key, mask, err := f.given(cmd, args[0])
		if err != nil {
			return err
		}
		if len(mask) == 0 {
			return usage(cmd, errors.New("nothing to change is given"))
		}
		c.Etag = etag
		changed, err := call(ctx, s, s.clusters.Update, &tmsv1.UpdateClusterRequest{
			Cluster: c, Password: password, ApiKey: key, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask},
		})
		return a.printCluster(s, changed, err)
	})
	f.bind(cmd)
	cmd.Flags().StringVar(&etag, "etag", tenants.AnyEtag, "change only the version that you have read")
	return cmd
}

func (a *app) clusterListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List clusters", Args: cobra.NoArgs,
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
			all, err := call(ctx, s, s.clusters.List, &tmsv1.ListClustersRequest{})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessages(a.out, all.GetClusters())
			}
			var rows [][]string
			for _, c := range all.GetClusters() {
				rows = append(rows, []string{
					c.GetName(), strings.TrimSpace(c.GetProduct() + " " + c.GetVersion()), strings.Join(c.GetUrls(), " "), c.GetAuth(),
					strconv.FormatInt(c.GetTenants(), 10), stamp(c.GetVerifyTime()), c.GetProblem(),
				})
			}
			return writeTable(a.out, []string{"cluster", "product", "urls", "login", "tenants", "answered", "problem"}, rows)
		}),
	}
}

func (a *app) clusterShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a cluster", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			c, err := call(ctx, s, s.clusters.Get, &tmsv1.GetClusterRequest{Name: args[0]})
			return a.printCluster(s, c, err)
		}),
	}
}

func (a *app) clusterVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify NAME", Short: "Ask a cluster who it is; exit code 1 when it does not answer as it should", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			c, err := call(ctx, s, s.clusters.Verify, &tmsv1.VerifyClusterRequest{Name: args[0]})
			if err := a.printCluster(s, c, err); err != nil {
				return err
			}
			if c.GetProblem() != "" {
				return &outcomeError{"cluster " + c.GetName() + " does not answer as it should"}
			}
			return nil
		}),
	}
}

func (a *app) clusterRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a cluster in which no tenant lives; nothing in it is deleted", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			_, err := call(ctx, s, s.clusters.Remove, &tmsv1.RemoveClusterRequest{Name: args[0]})
			if err != nil || s.json {
				return err
			}
			_, err = fmt.Fprintf(a.out, "cluster %s is forgotten; what it holds is as it was\n", args[0])
			return err
		}),
	}
}

func (a *app) printCluster(s *session, c *tmsv1.Cluster, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, c)
	}
	trust := ""
	switch {
	case c.GetFingerprint() != "":
		trust = "the certificate " + c.GetFingerprint()
	case c.GetCaCert() != "":
		trust = "authorities of its own"
	}
	return writeFields(a.out,
		"cluster", c.GetName(), "product", strings.TrimSpace(c.GetProduct()+" "+c.GetVersion()), "calls itself", strings.TrimSpace(c.GetClusterName()+" "+c.GetClusterUuid()),
		"urls", strings.Join(c.GetUrls(), " "), "login", c.GetAuth(), "user", c.GetUsername(), "trusts", trust,
		"tenants", strconv.FormatInt(c.GetTenants(), 10), "answered", stamp(c.GetVerifyTime()), "problem", c.GetProblem(),
		"added by", c.GetCreatedBy(), "changed", stamp(c.GetUpdateTime()), "etag", c.GetEtag(),
	)
}
