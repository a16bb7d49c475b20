package ec2

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

func rsaPEM(key *rsa.PrivateKey) *pem.Block {
	return &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
}

// puttyKey writes a private key as PuTTY keeps it (PPK, version 2, not encrypted).
func puttyKey(private any, comment string) (string, error) {
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return "", err
	}
	public := signer.PublicKey()
	var secret bytes.Buffer
	switch key := private.(type) {
	case *rsa.PrivateKey:
		key.Precompute()
		for _, n := range []*big.Int{key.D, key.Primes[0], key.Primes[1], key.Precomputed.Qinv} {
			field(&secret, mpint(n))
		}
	case ed25519.PrivateKey:
		field(&secret, key.Seed())
	}
	var signed bytes.Buffer
	for _, part := range [][]byte{[]byte(public.Type()), []byte("none"), []byte(comment), public.Marshal(), secret.Bytes()} {
		field(&signed, part)
	}
	key := sha1.Sum([]byte("putty-private-key-file-mac-key"))
	mac := hmac.New(sha1.New, key[:])
	mac.Write(signed.Bytes())
	return fmt.Sprintf("PuTTY-User-Key-File-2: %s\nEncryption: none\nComment: %s\nPublic-Lines: %sPrivate-Lines: %sPrivate-MAC: %s\n",
		public.Type(), comment, lines64(public.Marshal()), lines64(secret.Bytes()), hex.EncodeToString(mac.Sum(nil))), nil
}

// field writes a length and the bytes, as SSH does.
func field(b *bytes.Buffer, data []byte) {
	_ = binary.Write(b, binary.BigEndian, uint32(len(data))) // a Buffer takes everything
	b.Write(data)
}

// mpint is a positive number as SSH writes it: the first bit says the sign.
func mpint(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

// lines64 writes the number of lines and base64 in lines of 64.
func lines64(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var out strings.Builder
	fmt.Fprintf(&out, "%d\n", (len(text)+63)/64)
	for len(text) > 0 {
		n := min(64, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return out.String()
}
