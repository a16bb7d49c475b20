package keypair

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
)

// made returns a private and a public key that OpenSSH made.
func made(t *testing.T, args ...string) (private, public string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	cmd := exec.Command(need.Tool(t, "ssh-keygen"), append([]string{"-q", "-f", file, "-C", "somebody@somewhere"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
	}
	return file, file + ".pub"
}

func parseFile(t *testing.T, file string) Key {
	t.Helper()
	k, err := Load("", file)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return k
}

func TestAPublicKeyIsDerivedFromEveryFormOfAPrivateOne(t *testing.T) {
	for _, args := range [][]string{
		{"-t", "ed25519", "-N", ""},
		{"-t", "rsa", "-b", "2048", "-N", ""},
		{"-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""},
		{"-t", "ed25519", "-N", "a passphrase"}, // OpenSSH's format has the public key in the clear
	} {
		private, public := made(t, args...)
		want := parseFile(t, public)
		if got := parseFile(t, private); string(got.Material()) != string(want.Material()) {
			t.Errorf("%v: derived %s, want %s", args, got.Material(), want.Material())
		}
		if !want.Same(string(want.Material()) + " another comment\n") {
			t.Errorf("%v: a comment makes another key", args)
		}
	}
}

func TestALockedPEMKeySaysWhatToGiveInstead(t *testing.T) {
	private, _ := made(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a passphrase")
	if _, err := Load("", private); !errors.Is(err, ErrPassphrase) {
		t.Errorf("%v", err)
	}
}

func TestFingerprintsAreThoseThatEC2Shows(t *testing.T) {
	// The EC2 user guide, "Verify the fingerprint of your key pair", gives these
	// commands for keys that were imported.
	private, _ := made(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "")
	out, err := exec.Command("sh", "-c", `"$0" rsa -in "$1" -pubout -outform DER 2>/dev/null | "$0" md5 -c`, need.Tool(t, "openssl"), private).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := parseFile(t, private).Fingerprint(); !strings.HasSuffix(strings.TrimSpace(string(out)), got) {
		t.Errorf("RSA: %s, openssl says %s", got, out)
	}
	_, public := made(t, "-t", "ed25519", "-N", "")
	out, err = exec.Command(need.Tool(t, "ssh-keygen"), "-lf", public).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := parseFile(t, public).Fingerprint(); !strings.Contains(string(out), "SHA256:"+strings.TrimSuffix(got, "=")+" ") {
		t.Errorf("ed25519: %s, ssh-keygen says %s", got, out)
	}
}

func TestWhatEC2DoesNotTakeIsRefusedBeforeItIsAsked(t *testing.T) {
	_, ecdsa := made(t, "-t", "ecdsa", "-N", "")
	_, odd := made(t, "-t", "rsa", "-b", "3072", "-N", "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		ecdsa:                             "EC2 takes RSA and ed25519",
		odd:                               "3072 bits",
		empty:                             "not a public key",
		"-----BEGIN RSA PRIVATE KEY-----": "cut off",
		"/does/not/exist.pub":             "no such file",
	} {
		if _, err := Load("", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestWithoutItsMaterialTheFingerprintDecides: EC2 does not have the material
// of pairs that were made before it kept that.
func TestWithoutItsMaterialTheFingerprintDecides(t *testing.T) {
	for _, args := range [][]string{{"-t", "ed25519", "-N", ""}, {"-t", "rsa", "-b", "2048", "-N", ""}} {
		_, first := made(t, args...)
		_, second := made(t, args...)
		print := parseFile(t, first).Fingerprint()
		have := types.KeyPairInfo{KeyFingerprint: &print}
		if !same(have, parseFile(t, first)) || same(have, parseFile(t, second)) {
			t.Errorf("%v: the fingerprint %s does not tell", args, print)
		}
	}
}
