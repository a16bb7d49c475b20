package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon/keypair"
)

func (a *app) keypairCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keypair",
		Short: "Import, replace, list and delete EC2 key pairs",
		Long: "Keep EC2 key pairs as they should be. An import of a key that is there already does nothing; a name\n" +
			"that stands for another key gets the new one. Private keys never leave this machine.",
		Example: `  bake keypair import ops ~/.ssh/id_ed25519.pub --region eu-west-1
  bake keypair list
  bake keypair show ops
  bake keypair delete ops`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keypairImportCommand(), a.keypairListCommand(), a.keypairShowCommand(), a.keypairDeleteCommand())
	return cmd
}

func (a *app) keypairImportCommand() *cobra.Command {
	var tags []string
	cmd := &cobra.Command{
		Use:   "import NAME KEY-FILE",
		Short: "Make a name stand for a key",
		Long: "Import the public key of a file, which may be a public or a private key in OpenSSH's format or PEM;\n" +
			"- reads it from stdin.",
		Example: `  bake keypair import ops ~/.ssh/id_ed25519.pub
  bake keypair import ops ops.pem --tag team=ops --region eu-west-1`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withKeys(cmd, func(ctx context.Context, keys *keypair.Keyring) error {
				return a.keypairImport(ctx, keys, args[0], args[1], tags)
			})
		},
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag the key pair: `KEY=VALUE` (repeatable)")
	a.keypairFlags(cmd)
	return cmd
}

func (a *app) keypairImport(ctx context.Context, keys *keypair.Keyring, name, file string, tags []string) error {
	key, err := a.readKey(file)
	if err != nil {
		return usagef("", "%s: %w", file, err)
	}
	all := map[string]string{}
	for _, t := range tags {
		k, v, ok := strings.Cut(t, "=")
		if !ok {
			return usagef("write --tag team=ops", "--tag %s is not KEY=VALUE", t)
		}
		all[k] = v
	}
	change, err := keys.Ensure(ctx, name, key, all)
	if err != nil {
		return err
	}
	if a.flags.output == "json" {
		return a.printJSON(map[string]any{"name": name, "fingerprint": key.Fingerprint(), "region": keys.Region, "change": change})
	}
	fmt.Fprintf(a.stdout, "key pair %s %s in %s (%s)\n", name, change, keys.Region, key.Fingerprint())
	return nil
}

func (a *app) readKey(file string) (keypair.Key, error) {
	if file == "-" {
		text, err := io.ReadAll(io.LimitReader(a.stdin, 1<<20))
		if err != nil {
			return keypair.Key{}, err
		}
		return keypair.Parse(text)
	}
	dir, err := os.Getwd()
	if err != nil {
		return keypair.Key{}, err
	}
	return keypair.Load(dir, file)
}

func (a *app) keypairListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List key pairs",
		Example: `  bake keypair list
  bake keypair list --region eu-west-1 --output json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withKeys(cmd, func(ctx context.Context, keys *keypair.Keyring) error {
				all, err := keys.List(ctx)
				if err != nil {
					return err
				}
				if a.flags.output == "json" {
					return a.printJSON(all)
				}
				w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tTYPE\tFINGERPRINT\tID\tCREATED")
				for _, k := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Name, k.Type, k.Fingerprint, k.ID, when(k.Created))
				}
				return w.Flush()
			})
		},
	}
	a.keypairFlags(cmd)
	return cmd
}

func (a *app) keypairShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Print the public key of a key pair",
		Example: `  bake keypair show ops
  bake keypair show ops --output json      with its id, fingerprint and tags`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withKeys(cmd, func(ctx context.Context, keys *keypair.Keyring) error {
				k, err := keys.Find(ctx, args[0])
				if err != nil {
					return noKeyPair(err, args[0], keys.Region)
				}
				if a.flags.output == "json" {
					return a.printJSON(k)
				}
				fmt.Fprintln(a.stdout, k.PublicKey)
				return nil
			})
		},
	}
	a.keypairFlags(cmd)
	return cmd
}

func (a *app) keypairDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a key pair; instances that run keep its key",
		Example: `  bake keypair delete ops
  bake keypair delete ops --region eu-west-1 --profile prod`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withKeys(cmd, func(ctx context.Context, keys *keypair.Keyring) error {
				if err := keys.Delete(ctx, args[0]); err != nil {
					return noKeyPair(err, args[0], keys.Region)
				}
				fmt.Fprintf(a.stderr, "key pair %s is deleted in %s\n", args[0], keys.Region)
				return nil
			})
		},
	}
	a.keypairFlags(cmd)
	return cmd
}

// noKeyPair says where a key pair was looked for, if it was not found.
func noKeyPair(err error, name, region string) error {
	if errors.Is(err, builder.ErrNotFound) {
		return usagef("`bake keypair list` lists them; --region looks elsewhere", "there is no key pair %s in %s", name, region)
	}
	return fmt.Errorf("key pair %s: %w", name, err)
}

func (a *app) keypairFlags(cmd *cobra.Command) {
	a.awsFlags(cmd)
	a.outputFlag(cmd, "text|json")
}

// withKeys runs fn with the key pairs that the command's flags mean.
func (a *app) withKeys(cmd *cobra.Command, fn func(context.Context, *keypair.Keyring) error) error {
	ctx, stop := interruptible(cmd.Context(), func() { os.Exit(exitInterrupted) })
	defer stop()
	w, err := a.wire()
	if err != nil {
		return err
	}
	defer w.close()
	keys, err := keypair.Open(ctx, w.cloud, a.flags.aws)
	if err != nil {
		return err
	}
	return fn(ctx, keys)
}
