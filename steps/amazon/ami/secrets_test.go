package ami_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	gossh "golang.org/x/crypto/ssh"

	"bake/steps/amazon/ami"
)

// spill leaves secrets on the machine, and things that look like some.
const spill = `mkdir -p /root/.aws /home/ec2-user/.ssh /etc/app /opt/app
echo '-----BEGIN OPENSSH PRIVATE KEY-----' >/etc/app/server.key
printf '[default]\naws_secret_access_key = x\n' >/root/.aws/credentials
printf '[default]\nregion = eu-west-1\n' >/root/.aws/config
echo 'the words BEGIN PRIVATE KEY in a text' >/opt/app/README
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA a.colleague' >>/root/.ssh/authorized_keys
echo 'ls' >/root/.bash_history`

func TestSecretsThatWouldBeInTheImageAreTold(t *testing.T) {
	step := strings.Replace(tiny, "echo one >>/log", "|\n"+indent(spill), 1)
	step = strings.Replace(step, "steps: [{script: |", "steps:\n- script: |", 1)
	step = strings.Replace(step, "}]\noutputs", "\noutputs", 1)
	with := func(secrets string) string {
		return strings.Replace(step, `x86_64"}}`, `x86_64"}, capture: {secrets: `+secrets+`}}`, 1)
	}
	wanted := []string{"a private key (/etc/app/server.key)", "credentials (/root/.aws/credentials)", "a key that lets somebody in (/root/.ssh/authorized_keys)"}
	unwanted := []string{"README", ".aws/config", "history", "ssh_host", "user data", "/home/ec2-user/.ssh"}

	t.Run("as a warning", func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.bake(step); err != nil {
			t.Fatal(err)
		}
		for _, text := range wanted {
			if !w.told("warning: the image will hold " + text) {
				t.Errorf("%s is not told", text)
			}
		}
		for _, text := range unwanted {
			if w.told("will hold") && w.told(text) {
				t.Errorf("%s is told", text)
			}
		}
	})
	t.Run("as an error", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.bake(with("fail"))
		found, ok := errors.AsType[*ami.SecretsError](err)
		if !ok || len(found.Found) != len(wanted) {
			t.Fatalf("error %v", err)
		}
		if w.count("CreateImage") != 0 {
			t.Error("an image was made")
		}
		w.wantOnly("after the refusal")
	})
	t.Run("not at all", func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.bake(with("ignore")); err != nil {
			t.Fatal(err)
		}
		if w.told("will hold") {
			t.Error("something is told")
		}
	})
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

func TestACleanMachineHasNothingToWarnOf(t *testing.T) {
	w := newWorld(t)
	if _, err := w.bake(strings.Replace(tiny, `x86_64"}}`, `x86_64"}, capture: {secrets: fail}}`, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestTheKeyOfTheTemplatesKeyPairDoesNotStayInTheImage is for a key pair whose
// public key stands in the template, and one that only has a name.
func TestTheKeyOfTheTemplatesKeyPairDoesNotStayInTheImage(t *testing.T) {
	for _, named := range []bool{false, true} {
		w := newWorld(t)
		private, public := newKey(t)
		pair := `{name: ours, public_key: "` + public + `"}`
		if named {
			pair = "ours"
			if _, err := w.client().ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("ours"), PublicKeyMaterial: []byte(public)}); err != nil {
				t.Fatal(err)
			}
		}
		text := strings.Replace(tiny, `x86_64"}}`, `x86_64"}, machine: {key_pair: `+pair+`}, ssh: {key: `+private+`}, capture: {secrets: fail}}`, 1)
		blob := strings.Fields(public)[1]
		text = strings.Replace(text, "echo one >>/log", "cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys | grep -q "+blob, 1)
		if _, err := w.bake(text); err != nil { // the scan finds what is left
			t.Errorf("named %v: %v", named, err)
		}
	}
}

// newKey makes a key pair: the private key's file, and the public key.
func newKey(t *testing.T) (file, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := gossh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(text)))
}
