package ec2

import (
	"strings"

	"bake/internal/sandbox/api"
)

// anyKey stands for KMS where there is none: every key exists.
type anyKey struct{}

// ebsKey is AWS's own key in every account.
const ebsKey = "alias/aws/ebs"

// Resolve makes an ARN of what it is given.
func (anyKey) Resolve(account, region, ref string) (string, error) {
	if strings.HasPrefix(ref, "arn:") {
		return ref, nil
	}
	return "arn:aws:kms:" + region + ":" + account + ":key/" + strings.TrimPrefix(ref, "alias/"), nil
}

// Shared knows AWS's own key by its name.
func (anyKey) Shared(_, _, ref string) bool { return !strings.HasSuffix(ref, "aws/ebs") }

// useKey returns the key that the caller means, as a seal.
func (o *op) useKey(ref string) (seal, error) {
	arn, err := o.options.Keys.Resolve(o.call.Account, o.r.Name, ref)
	return seal{true, arn, !o.options.Keys.Shared(o.call.Account, o.r.Name, ref)}, err
}

// A seal is how a volume or a snapshot is encrypted; the zero seal is not at all.
type seal struct {
	Encrypted bool
	Key       string // ARN
	Managed   bool   // AWS's own key, which nobody else can use
}

// keyless is what AWS says, later, of a key that it cannot use.
const keyless = "Given key ID is not accessible"

// sealFor is the encryption of a new volume or copy. From is that of what it is
// made from. A key that cannot be used makes failed non-empty: AWS takes the call
// and the resource comes to nothing.
func (o *op) sealFor(encrypted *bool, key string, from seal) (s seal, failed string, err error) {
	if key != "" && encrypted != nil && !*encrypted {
		return s, "", api.Errorf("InvalidParameterCombination", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	if encrypted != nil && !*encrypted && from.Encrypted {
		return s, "", api.Errorf("InvalidParameter", "The encrypted parameter is false, but the snapshot is encrypted: it cannot be made unencrypted")
	}
	switch {
	case key != "" && encrypted == nil && !from.Encrypted && !o.me.EncryptByDefault:
		return s, "", api.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	case key == "" && from.Encrypted && (encrypted == nil || !*encrypted):
		// It keeps its source's key, if the caller may use that.
		if s, err = o.useKey(from.Key); err != nil {
			return from, keyless, nil
		}
		s.Managed = s.Managed || from.Managed
		return s, "", nil
	case key == "" && !or(encrypted, false) && !o.me.EncryptByDefault && !from.Encrypted:
		return seal{}, "", nil
	}
	if key == "" {
		key = o.defaultKey()
	}
	if s, err = o.useKey(key); err != nil {
		return seal{true, key, false}, keyless, nil
	}
	return s, "", nil
}

func (o *op) defaultKey() string {
	if o.me.DefaultKey != "" {
		return o.me.DefaultKey
	}
	return ebsKey
}

type encryptByDefaultOut struct {
	Enabled bool   `xml:"ebsEncryptionByDefault"`
	Type    string `xml:"sseType,omitempty"`
}

func (o *op) getEncryptByDefault(*struct{ dry }) (*encryptByDefaultOut, error) {
	return &encryptByDefaultOut{Enabled: o.me.EncryptByDefault}, nil
}

func (o *op) enableEncryptByDefault(*struct{ dry }) (*encryptByDefaultOut, error) {
	o.me.EncryptByDefault = true
	return &encryptByDefaultOut{Enabled: true}, nil
}

func (o *op) disableEncryptByDefault(*struct{ dry }) (*encryptByDefaultOut, error) {
	o.me.EncryptByDefault = false
	return &encryptByDefaultOut{}, nil
}

type defaultKeyOut struct {
	Key string `xml:"kmsKeyId"`
}

func (o *op) getDefaultKey(*struct{ dry }) (*defaultKeyOut, error) {
	return &defaultKeyOut{o.defaultKey()}, nil
}

type modifyDefaultKeyIn struct {
	dry
	Key string `q:"KmsKeyId,required"`
}

func (o *op) modifyDefaultKey(in *modifyDefaultKeyIn) (*defaultKeyOut, error) {
	arn, err := o.options.Keys.Resolve(o.call.Account, o.r.Name, in.Key)
	if err != nil {
		return nil, api.Errorf("InvalidParameterValue", "The specified KMS key %s is not valid: %v", in.Key, err)
	}
	o.me.DefaultKey = arn
	return &defaultKeyOut{arn}, nil
}

func (o *op) resetDefaultKey(*struct{ dry }) (*defaultKeyOut, error) {
	o.me.DefaultKey = ""
	return &defaultKeyOut{o.defaultKey()}, nil
}
