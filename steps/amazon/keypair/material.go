package keypair

import (
	"bytes"
	"crypto"
	"crypto/md5" // the fingerprint that EC2 shows for imported RSA keys
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Key is a public key that EC2 takes: RSA of 1024, 2048 or 4096 bits, or ed25519.
type Key struct{ public ssh.PublicKey }

// ErrPassphrase says that a private key cannot be read without its passphrase.
var ErrPassphrase = errors.New("the private key has a passphrase: give its public key instead (ssh-keygen -y -f KEY > KEY.pub)")

// Parse reads a public key in the format of OpenSSH or as PEM, or derives it
// from a private key. The error says what EC2 would not take.
func Parse(text []byte) (Key, error) {
	public, err := parse(text)
	if err != nil {
		return Key{}, err
	}
	switch public.Type() {
	case ssh.KeyAlgoED25519:
	case ssh.KeyAlgoRSA:
		bits := public.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey).N.BitLen()
		if bits != 1024 && bits != 2048 && bits != 4096 {
			return Key{}, fmt.Errorf("an RSA key of %d bits: EC2 takes 1024, 2048 and 4096", bits)
		}
	default:
		return Key{}, fmt.Errorf("a key of type %s: EC2 takes RSA and ed25519", public.Type())
	}
	return Key{public}, nil
}

func parse(text []byte) (ssh.PublicKey, error) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("-----BEGIN")) {
		public, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, errors.New("not a public key (ssh-ed25519 AAAA... or ssh-rsa AAAA...), nor a PEM file")
		}
		return public, nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("a PEM file that is cut off or damaged")
	}
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a PEM public key: %w", err)
		}
		return ssh.NewPublicKey(key)
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a PEM public key: %w", err)
		}
		return ssh.NewPublicKey(key)
	}
	return ofPrivate(text)
}

func ofPrivate(text []byte) (ssh.PublicKey, error) {
	key, err := ssh.ParseRawPrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if locked.PublicKey != nil { // OpenSSH's format has it in the clear
			return locked.PublicKey, nil
		}
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		if signer, err := ssh.NewSignerFromKey(key); err == nil { // *ed25519.PrivateKey
			return signer.PublicKey(), nil
		}
		return nil, fmt.Errorf("a private key of type %T", key)
	}
	return ssh.NewPublicKey(signer.Public())
}

// Material is what ImportKeyPair takes: one line in the format of OpenSSH.
func (k Key) Material() []byte { return bytes.TrimSpace(ssh.MarshalAuthorizedKey(k.public)) }

// Same reports whether material, as DescribeKeyPairs returns it, is this key.
func (k Key) Same(material string) bool {
	other, err := parse([]byte(material))
	return err == nil && bytes.Equal(other.Marshal(), k.public.Marshal())
}

// Fingerprint is the key's fingerprint as EC2 shows it (CreateKeyPair,
// ImportKeyPair): MD5 over the DER public key for RSA keys that were imported,
// SHA-256 in base64 for ed25519.
func (k Key) Fingerprint() string {
	if k.public.Type() == ssh.KeyAlgoED25519 {
		// OpenSSH leaves the padding out, EC2 does not.
		sum := strings.TrimPrefix(ssh.FingerprintSHA256(k.public), "SHA256:")
		return sum + "="
	}
	der, err := x509.MarshalPKIXPublicKey(k.public.(ssh.CryptoPublicKey).CryptoPublicKey())
	if err != nil {
		panic(err) // an RSA key was parsed
	}
	sum := md5.Sum(der)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(pairs, ":")
}
