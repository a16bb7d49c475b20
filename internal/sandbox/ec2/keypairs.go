package ec2

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"bake/internal/sandbox/api"
)

// A keyPair is a public key under a name; AWS does not keep the private one.
type keyPair struct {
	meta
	Name        string
	Type        string // "rsa", "ed25519"
	Fingerprint string
	PublicKey   string // one line of authorized_keys
}

type keyPairXML struct {
	KeyPairID   string   `xml:"keyPairId"`
	Name        string   `xml:"keyName"`
	Type        string   `xml:"keyType,omitempty"`
	Fingerprint string   `xml:"keyFingerprint"`
	PublicKey   string   `xml:"publicKey,omitempty"`
	Material    string   `xml:"keyMaterial,omitempty"`
	CreateTime  string   `xml:"createTime,omitempty"`
	Tags        set[tag] `xml:"tagSet>item"`
}

type importKeyPairIn struct {
	dry
	KeyName  string    `q:"KeyName,required"`
	Material []byte    `q:"PublicKeyMaterial,required"`
	Tags     []tagSpec `q:"TagSpecification"`
}

func (o *op) importKeyPair(in *importKeyPairIn) (*keyPairXML, error) {
	k, err := o.newKeyPair(in.KeyName, in.Tags)
	if err != nil {
		return nil, err
	}
	key, err := parsePublicKey(in.Material)
	if err != nil {
		return nil, err
	}
	k.Type, k.Fingerprint = key.kind, key.importedFingerprint()
	k.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey)))
	if key.comment != "" {
		k.PublicKey += " " + key.comment
	}
	o.r.KeyPairs[k.ID] = k
	return &keyPairXML{KeyPairID: k.ID, Name: k.Name, Fingerprint: k.Fingerprint, Tags: k.Tags}, nil
}

// newKeyPair checks name and tags of a key pair that is about to be made.
func (o *op) newKeyPair(name string, specs []tagSpec) (*keyPair, error) {
	tags, err := tagsFor(specs, kindKeyPair.name)
	if err != nil {
		return nil, err
	}
	if len(name) > 255 || strings.TrimSpace(name) != name {
		return nil, api.Errorf("InvalidParameterValue", "Value for parameter KeyName is invalid: up to 255 ASCII characters, without leading or trailing spaces")
	}
	for _, c := range name {
		if c > 126 || c < 32 {
			return nil, api.Errorf("InvalidParameterValue", "Value for parameter KeyName is invalid. Allowed characters are ASCII.")
		}
	}
	if o.keyPair(name) != nil {
		return nil, api.Errorf("InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", name)
	}
	return &keyPair{meta: o.make(kindKeyPair, tags[kindKeyPair.name]), Name: name}, nil
}

// keyPair returns the caller's key pair of the name, or nil.
func (o *op) keyPair(name string) *keyPair {
	for _, k := range o.r.KeyPairs {
		if k.Owner == o.call.Account && k.Name == name {
			return k
		}
	}
	return nil
}

type createKeyPairIn struct {
	dry
	KeyName   string    `q:"KeyName,required"`
	KeyType   string    `q:"KeyType"`
	KeyFormat string    `q:"KeyFormat"`
	Tags      []tagSpec `q:"TagSpecification"`
}

func (o *op) createKeyPair(in *createKeyPairIn) (*keyPairXML, error) {
	k, err := o.newKeyPair(in.KeyName, in.Tags)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "pem", "ppk"}, in.KeyFormat) {
		return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for keyFormat.", in.KeyFormat)
	}
	var private any
	var block *pem.Block
	switch in.KeyType {
	case "", "rsa":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		private, k.Type = key, "rsa"
		block = rsaPEM(key)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		private, k.Type = key, "ed25519"
		if block, err = ssh.MarshalPrivateKey(key, ""); err != nil {
			return nil, err
		}
	default:
		return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for keyType.", in.KeyType)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	if k.Fingerprint, err = createdFingerprint(private); err != nil {
		return nil, err
	}
	k.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " " + k.Name
	material := string(pem.EncodeToMemory(block))
	if in.KeyFormat == "ppk" {
		if material, err = puttyKey(private, k.Name); err != nil {
			return nil, err
		}
	}
	o.r.KeyPairs[k.ID] = k
	return &keyPairXML{KeyPairID: k.ID, Name: k.Name, Fingerprint: k.Fingerprint, Material: material, Tags: k.Tags}, nil
}

type deleteKeyPairIn struct {
	dry
	KeyName   string `q:"KeyName"`
	KeyPairID string `q:"KeyPairId"`
}

type deleteKeyPairOut struct {
	Return    bool   `xml:"return"`
	KeyPairID string `xml:"keyPairId,omitempty"`
}

// deleteKeyPair succeeds also if there is no such key pair.
func (o *op) deleteKeyPair(in *deleteKeyPairIn) (*deleteKeyPairOut, error) {
	if in.KeyName == "" && in.KeyPairID == "" {
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
	}
	if in.KeyPairID != "" {
		if err := kindKeyPair.check(in.KeyPairID); err != nil {
			return nil, err
		}
	}
	for id, k := range o.r.KeyPairs {
		if k.Owner == o.call.Account && (k.Name == in.KeyName || id == in.KeyPairID) {
			delete(o.r.KeyPairs, id)
			return &deleteKeyPairOut{true, id}, nil
		}
	}
	return &deleteKeyPairOut{Return: true}, nil
}

type describeKeyPairsIn struct {
	dry
	KeyNames         []string `q:"KeyName"`
	KeyPairIDs       []string `q:"KeyPairId"`
	Filters          []filter `q:"Filter"`
	IncludePublicKey bool     `q:"IncludePublicKey"`
}

type describeKeyPairsOut struct {
	KeyPairs set[keyPairXML] `xml:"keySet>item"`
}

func (o *op) describeKeyPairs(in *describeKeyPairsIn) (*describeKeyPairsOut, error) {
	for _, name := range in.KeyNames {
		if k := o.keyPair(name); k == nil || o.call.Hidden(k.ID) {
			return nil, kindKeyPair.notFound(name)
		}
	}
	found, _, err := list(o, listing[*keyPair]{kind: kindKeyPair, all: o.r.KeyPairs, ids: in.KeyPairIDs, filters: in.Filters,
		visible: func(k *keyPair) bool {
			return k.Owner == o.call.Account && (len(in.KeyNames) == 0 || slices.Contains(in.KeyNames, k.Name))
		},
		fields: fields[*keyPair]{
			"key-name":    one(func(k *keyPair) string { return k.Name }),
			"key-pair-id": one(func(k *keyPair) string { return k.ID }),
			"fingerprint": one(func(k *keyPair) string { return k.Fingerprint }),
		}})
	if err != nil {
		return nil, err
	}
	out := &describeKeyPairsOut{}
	for _, k := range found {
		v := keyPairXML{KeyPairID: k.ID, Name: k.Name, Type: k.Type, Fingerprint: k.Fingerprint, CreateTime: stamp(k.Created), Tags: k.Tags}
		if in.IncludePublicKey {
			v.PublicKey = k.PublicKey
		}
		out.KeyPairs = append(out.KeyPairs, v)
	}
	return out, nil
}
