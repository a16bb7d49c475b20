package keypair

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"bake/builder"
	"bake/steps/amazon"
	"bake/templates"
)

// An Output keeps a key pair up to date.
type Output struct {
	amazon.Access
	Name       string            `yaml:"name" bake:"main,required" pattern:"^[ -~]{1,255}$" doc:"Name of the key pair."`
	PublicKey  string            `yaml:"public_key" doc:"The key itself (ssh-ed25519 AAAA...) or a file with it: OpenSSH or PEM."`
	PrivateKey string            `yaml:"private_key" doc:"A private key, or a file with it, to derive the public key from. It never leaves this machine."`
	Tags       map[string]string `yaml:"tags" doc:"Tags of the key pair."`

	cloud *amazon.Cloud
}

// New returns the output kind keypair.
func New(cloud *amazon.Cloud) func() builder.Output {
	return func() builder.Output { return &Output{cloud: cloud} }
}

// Validate wants one key, and reads it, so that a wrong one is known before
// anything starts.
func (o *Output) Validate(b templates.Block) templates.Diagnostics {
	public, private := b.Has("public_key"), b.Has("private_key")
	if !public && !private {
		return templates.Diagnostics{b.Errorf("keypair: public_key or private_key is needed")}
	}
	if public && private {
		return templates.Diagnostics{b.Key("private_key").Errorf("public_key and private_key exclude each other")}
	}
	name := "public_key"
	if private {
		name = "private_key"
	}
	if b.At(name).Unresolved() {
		return nil
	}
	if _, err := o.key(b.Dir()); err != nil {
		return templates.Diagnostics{b.At(name).Errorf("%s: %v", name, err)}
	}
	return nil
}

func (o *Output) key(dir string) (Key, error) {
	text := o.PublicKey
	if text == "" {
		text = o.PrivateKey
	}
	return Load(dir, text)
}

// Load reads a key that is given as text or as a file; a relative file starts
// at dir, "~/" at the user's home.
func Load(dir, text string) (Key, error) {
	trimmed := strings.TrimSpace(text)
	if strings.HasPrefix(trimmed, "-----BEGIN") || strings.HasPrefix(trimmed, "ssh-") || strings.HasPrefix(trimmed, "ecdsa-") {
		return Parse([]byte(text))
	}
	if rest, ok := strings.CutPrefix(trimmed, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return Key{}, err
		}
		trimmed = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(trimmed) {
		trimmed = filepath.Join(dir, trimmed)
	}
	data, err := os.ReadFile(trimmed)
	if err != nil {
		return Key{}, err
	}
	return Parse(data)
}

// String is what the step is called.
func (o *Output) String() string { return "key pair " + o.Name }

// Accepts every artifact: the key pair has nothing to do with it.
func (o *Output) Accepts(builder.ArtifactKind) bool { return true }

// Publish brings the key pair up to date. Doing it twice does nothing, so it
// needs no journal.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, _ builder.Artifact) (builder.Published, error) {
	key, err := o.key(sc.Dir)
	if err != nil {
		return builder.Published{}, err
	}
	cfg, err := o.cloud.Config(ctx, o.Access)
	if err != nil {
		return builder.Published{}, err
	}
	change, err := Ensure(ctx, ec2.NewFromConfig(cfg), o.Name, key, o.Tags)
	if err != nil {
		return builder.Published{}, o.cloud.Explain(ctx, o.Access, err)
	}
	if change == Replaced {
		sc.Log("key pair %s stood for another key; new instances get the new one", o.Name)
	}
	return builder.Published{
		Values:    map[string]string{"name": o.Name, "fingerprint": key.Fingerprint(), "region": cfg.Region},
		Summary:   "key pair " + o.Name + " " + string(change) + " in " + cfg.Region,
		Unchanged: change == Unchanged,
	}, nil
}
