package ec2

import (
	"bytes"
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"bake/internal/sandbox/api"
)

// A publicKey is one that was imported.
type publicKey struct {
	ssh.PublicKey
	kind    string // "rsa", "ed25519"
	comment string
}

// parsePublicKey reads what ImportKeyPair takes: a line of OpenSSH's, RFC 4716,
// or base64 DER or PEM of the key (RSA); RSA of 1024, 2048 or 4096 bits or ed25519.
func parsePublicKey(data []byte) (publicKey, error) {
	bad := api.Errorf("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	key, comment, _, rest, err := ssh.ParseAuthorizedKey(data)
	if err == nil && len(bytes.TrimSpace(rest)) > 0 {
		return publicKey{}, bad
	}
	if err != nil {
		if key, err = parseRFC4716(data); err != nil {
			key, err = parseDER(data)
		}
		if err != nil {
			return publicKey{}, bad
		}
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519:
		return publicKey{key, "ed25519", comment}, nil
	case ssh.KeyAlgoRSA:
		bits := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey).N.BitLen()
		if bits != 1024 && bits != 2048 && bits != 4096 {
			return publicKey{}, api.Errorf("InvalidKey.Format", "Supported lengths: 1024, 2048, and 4096. The key has %d bits.", bits)
		}
		return publicKey{key, "rsa", comment}, nil
	}
	return publicKey{}, bad
}

// parseRFC4716 reads "---- BEGIN SSH2 PUBLIC KEY ----".
func parseRFC4716(data []byte) (ssh.PublicKey, error) {
	var blob strings.Builder
	header := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case header:
			header = strings.HasSuffix(line, `\`)
		case strings.HasPrefix(line, "----"):
		case strings.Contains(line, ": "):
			header = strings.HasSuffix(line, `\`)
		default:
			blob.WriteString(line)
		}
	}
	wire, err := base64.StdEncoding.DecodeString(blob.String())
	if err != nil {
		return nil, err
	}
	return ssh.ParsePublicKey(wire)
}

// parseDER reads an RSA key as PEM or as base64 of DER.
func parseDER(data []byte) (ssh.PublicKey, error) {
	der := data
	if block, _ := pem.Decode(data); block != nil {
		der = block.Bytes
	} else if raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), "")); err == nil {
		der = raw
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(key)
}

// importedFingerprint is AWS's of an imported key: MD5 of the DER public key
// for RSA, and OpenSSH's SHA-256 (without its prefix) for ed25519.
func (k publicKey) importedFingerprint() string {
	if k.kind == "ed25519" {
		return sha256Fingerprint(k.PublicKey)
	}
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey.(ssh.CryptoPublicKey).CryptoPublicKey())
	if err != nil {
		return "" // it cannot fail for an RSA key
	}
	sum := md5.Sum(der)
	return colons(sum[:])
}

// createdFingerprint is AWS's of a key that it made: SHA-1 of the DER private
// key (PKCS #8) for RSA, SHA-256 of the public key for ed25519.
func createdFingerprint(private any) (string, error) {
	if key, ok := private.(*rsa.PrivateKey); ok {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		sum := sha1.Sum(der)
		return colons(sum[:]), err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return "", err
	}
	return sha256Fingerprint(signer.PublicKey()), nil
}

// sha256Fingerprint is padded, as AWS shows it and ssh-keygen does not.
func sha256Fingerprint(k ssh.PublicKey) string {
	sum := sha256.Sum256(k.Marshal())
	return base64.StdEncoding.EncodeToString(sum[:])
}

func colons(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}
