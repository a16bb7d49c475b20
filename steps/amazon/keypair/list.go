package keypair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// Info is a key pair as lists show it.
type Info struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Type        string            `json:"type"` // "rsa", "ed25519"
	Fingerprint string            `json:"fingerprint"`
	PublicKey   string            `json:"public_key,omitempty"`
	Created     time.Time         `json:"created,omitzero"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func info(k types.KeyPairInfo) Info {
	i := Info{Name: aws.ToString(k.KeyName), ID: aws.ToString(k.KeyPairId), Type: string(k.KeyType),
		Fingerprint: aws.ToString(k.KeyFingerprint), PublicKey: aws.ToString(k.PublicKey), Created: aws.ToTime(k.CreateTime)}
	for _, t := range k.Tags {
		if i.Tags == nil {
			i.Tags = map[string]string{}
		}
		i.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return i
}

// A Keyring is the key pairs of one region and account.
type Keyring struct {
	cloud  *amazon.Cloud
	access amazon.Access
	client *ec2.Client
	Region string
}

// Open returns the key pairs of an access.
func Open(ctx context.Context, cloud *amazon.Cloud, a amazon.Access) (*Keyring, error) {
	cfg, err := cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	return &Keyring{cloud: cloud, access: a, client: ec2.NewFromConfig(cfg), Region: cfg.Region}, nil
}

// List returns all key pairs by name (DescribeKeyPairs).
func (r *Keyring) List(ctx context.Context) ([]Info, error) {
	out, err := r.client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)})
	if err != nil {
		return nil, r.cloud.Explain(ctx, r.access, fmt.Errorf("listing key pairs: %w", err))
	}
	all := []Info{}
	for _, k := range out.KeyPairs {
		all = append(all, info(k))
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Find returns one key pair; builder.ErrNotFound if there is none of the name.
func (r *Keyring) Find(ctx context.Context, name string) (Info, error) {
	k, err := Find(ctx, r.client, name)
	if err != nil && !errors.Is(err, builder.ErrNotFound) {
		err = r.cloud.Explain(ctx, r.access, err)
	}
	return info(k), err
}

// Ensure is the function Ensure for this keyring.
func (r *Keyring) Ensure(ctx context.Context, name string, key Key, tags map[string]string) (Change, error) {
	change, err := Ensure(ctx, r.client, name, key, tags)
	return change, r.cloud.Explain(ctx, r.access, err)
}

// Delete removes a key pair (DeleteKeyPair); builder.ErrNotFound if there is none of the name.
func (r *Keyring) Delete(ctx context.Context, name string) error {
	_, err := Find(ctx, r.client, name)
	if err == nil {
		_, err = r.client.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: &name})
	}
	if err != nil {
		return r.cloud.Explain(ctx, r.access, fmt.Errorf("deleting key pair %s: %w", name, err))
	}
	return nil
}
