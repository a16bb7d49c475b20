package amazon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/moby/sys/atomicwriter"
)

// renewBefore is how long before their end kept credentials count as expired,
// so that no call is signed with what runs out under way.
const renewBefore = 5 * time.Minute

// assume returns what assumes r with cfg's rights.
func (c *Cloud) assume(cfg aws.Config, r Role) aws.CredentialsProvider {
	var asked atomic.Bool
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), r.ARN, func(o *stscreds.AssumeRoleOptions) {
		r.fill(o)
		o.TokenProvider = c.mfaCode(r.MFASerial, &asked)
	})
	if r.MFASerial == "" {
		return provider
	}
	return c.keep(provider, &asked, r)
}

func (r Role) fill(o *stscreds.AssumeRoleOptions) {
	o.RoleSessionName = "bake"
	if r.SessionName != "" {
		o.RoleSessionName = r.SessionName
	}
	o.Duration = time.Hour // the most that a chained role may last
	if r.Duration > 0 {
		o.Duration = r.Duration
	}
	if r.ExternalID != "" {
		o.ExternalID = &r.ExternalID
	}
	if r.MFASerial != "" {
		o.SerialNumber = &r.MFASerial
	}
	for k, v := range r.Tags {
		o.Tags = append(o.Tags, types.Tag{Key: &k, Value: &v})
		o.TransitiveTagKeys = append(o.TransitiveTagKeys, k)
	}
	slices.Sort(o.TransitiveTagKeys)
}

// profileRoles let a profile of ~/.aws/config that wants an MFA code ask for it.
func (c *Cloud) profileRoles() []func(*config.LoadOptions) error {
	var asked atomic.Bool
	return []func(*config.LoadOptions) error{
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			o.TokenProvider = c.mfaCode(aws.ToString(o.SerialNumber), &asked)
		}),
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewBefore }),
	}
}

// mfaCode asks for the code of a device and notes that it did.
func (c *Cloud) mfaCode(serial string, asked *atomic.Bool) func() (string, error) {
	return func() (string, error) {
		if c.options.Ask == nil {
			return "", &Explained{Err: fmt.Errorf("the role wants a code of the MFA device %s", serial),
				Cure: "run bake in a terminal, or give it credentials that need no code (a web identity, an instance's role)"}
		}
		asked.Store(true)
		// stscreds has no context here; the question ends with the terminal's input.
		return c.options.Ask(context.Background(), "MFA code of "+serial)
	}
}

// keep returns p with its credentials kept in a file while they last, if an
// MFA code was asked for them: nobody wants to type one for every run.
func (c *Cloud) keep(p aws.CredentialsProvider, asked *atomic.Bool, r Role) aws.CredentialsProvider {
	if c.options.CacheDir == "" {
		return p
	}
	name := fmt.Sprintf("%x.json", sha256.Sum256(mustJSON(r)))
	return &kept{provider: p, asked: asked, file: filepath.Join(c.options.CacheDir, "aws", name)}
}

type kept struct {
	provider aws.CredentialsProvider
	asked    *atomic.Bool
	file     string // mode 0600
}

// Retrieve returns the credentials of the file, or new ones.
func (k *kept) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if data, err := os.ReadFile(k.file); err == nil {
		var known aws.Credentials
		if json.Unmarshal(data, &known) == nil && known.HasKeys() && time.Until(known.Expires) > renewBefore {
			return known, nil
		}
	}
	fresh, err := k.provider.Retrieve(ctx)
	if err != nil || !k.asked.Load() {
		return fresh, err
	}
	_ = k.save(fresh) // without the file the code is asked for again, that is all
	return fresh, nil
}

func (k *kept) save(fresh aws.Credentials) error {
	data, err := json.Marshal(fresh)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.file), 0o700); err != nil {
		return fmt.Errorf("keeping credentials: %w", err)
	}
	if err := atomicwriter.WriteFile(k.file, data, 0o600); err != nil {
		return fmt.Errorf("keeping credentials: %w", err)
	}
	return nil
}
