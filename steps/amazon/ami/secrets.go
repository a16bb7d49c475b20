package ami

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/keypair"
)

// What to do with secrets that are found.
const (
	secretsWarn   = "warn"
	secretsFail   = "fail"
	secretsIgnore = "ignore"
)

// A finding is a file that should not be in an image.
type finding struct{ what, path string }

// SecretsError is a machine that is not captured since it holds secrets.
type SecretsError struct{ Found []string }

func (e *SecretsError) Error() string {
	return "the image would hold " + strings.Join(e.Found, ", ")
}

// Hint says what to do.
func (e *SecretsError) Hint() string {
	return "remove the files in a last step; or set capture: {secrets: warn}"
}

// foundMark begins a line of scanScript about a finding; foundExit is its exit
// status if it is to fail.
const (
	foundMark = "bake-found\t"
	foundExit = 4
)

// scanScript looks for what should not be in an image, where people and programs
// leave it: in homes and in the folders of configuration, services and temporary
// files; not in what packages bring, below /usr. It tells paths, never contents.
// It sets n to how many there are.
func (z *freezing) scanScript(publics []string) string {
	if z.Capture.Secrets == secretsIgnore {
		return ""
	}
	var own strings.Builder // the lines that are about to go are none to speak of
	if !z.Capture.Clean.keeps(partKeys) {
		for _, p := range publics {
			own.WriteString(" -e " + quote(blobOf(p)))
		}
	}
	var b strings.Builder
	b.WriteString(`n=0
found() { n=$((n+1)); [ "$n" -gt 100 ] || printf 'bake-found\t%s\t%s\n' "$1" "$2"; }
each() { while IFS= read -r p; do [ -n "$p" ] && found "$1" "$p"; done; }
`)
	hosts := `! -path '/etc/ssh/ssh_host_*'`
	if z.Capture.Clean.keeps(partHostKeys) {
		hosts = ""
	}
	fmt.Fprintf(&b, `each "a private key" <<EOF
$(find /root /home /etc /opt /srv /tmp /var/tmp /var/lib/jenkins /usr/local -xdev -type f -size -64 %s -exec grep -lE -e '^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----' {} + 2>/dev/null)
EOF
each "credentials" <<EOF
$(find /root /home /etc /opt /srv /tmp /var/tmp -xdev -type f -size -64 \( -path '*/.aws/*' -o -name .netrc -o -name .git-credentials -o -name .npmrc -o -name .pypirc -o -path '*/.docker/config.json' -o -path '*/.kube/config' -o -name .pgpass -o -name .boto -o -name .env \) -exec grep -liE -e 'aws_secret_access_key|aws_session_token|password|_auth|"auth"|token|client-key-data|://[^/ ]+:[^/ ]+@|^[^:#]+:[^:]*:[^:]*:[^:]*:' {} + 2>/dev/null)
EOF
`, hosts)
	fmt.Fprintf(&b, `for h in %s; do
f="$h/.ssh/authorized_keys"
[ -f "$f" ] && grep -v '^[[:space:]]*\(#\|$\)' "$f" %s | grep -q . && found "a key that lets somebody in" "$f"
for f in "$h"/.bash_history "$h"/.ash_history "$h"/.sh_history "$h"/.zsh_history; do [ -s "$f" ] && found "shell history" "$f"; done
done
for f in /var/lib/cloud/instances/*/user-data.txt; do [ -s "$f" ] && found "cloud-init's copy of the user data" "$f"; done
`, homes, piped(own.String()))
	if z.Capture.Secrets == secretsFail {
		fmt.Fprintf(&b, "[ \"$n\" -eq 0 ] || exit %d\n", foundExit)
	}
	return b.String()
}

// piped is a filter that leaves out lines with the patterns.
func piped(patterns string) string {
	if patterns == "" {
		return ""
	}
	return "| grep -vF" + patterns
}

// findings reads what scanScript said.
func findings(text string) []finding {
	var all []finding
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), foundMark)
		if what, path, both := strings.Cut(rest, "\t"); ok && both {
			all = append(all, finding{what, path})
		}
	}
	return all
}

// tell tells the user what was found; err is how the script ended. It returns
// why the machine is not captured.
func (z *freezing) tell(found []finding, err error) error {
	var words []string
	for _, f := range found {
		words = append(words, f.what+" ("+f.path+")")
	}
	if exit, ok := errors.AsType[*builder.ExitError](err); ok && exit.Code == foundExit && len(found) > 0 {
		return &SecretsError{words}
	}
	if err != nil {
		return err
	}
	for _, w := range words {
		z.sc.Log("warning: the image will hold %s", w)
	}
	return nil
}

// cleaning is the script that makes the machine fit to be captured.
func (z *freezing) cleaning(ctx context.Context) (string, error) {
	publics, err := z.publics(ctx)
	if err != nil {
		return "", err
	}
	return z.Capture.Clean.script(publics, z.scanScript(publics)) + z.quiesce(), nil
}

// publics are the public keys that the machine was given for the build: bake's
// own, or that of the template's key pair, which EC2 knows if the template does
// not say it (DescribeKeyPairs).
func (z *freezing) publics(ctx context.Context) ([]string, error) {
	k := z.Machine.KeyPair
	switch {
	case k == nil:
		_, public, err := z.work.key(loginKey)
		return []string{public}, err
	case k.PublicKey != "":
		key, err := keypair.Parse([]byte(k.PublicKey))
		return []string{string(key.Material())}, err
	}
	pair, err := keypair.Find(ctx, z.client, k.Name)
	if errors.Is(err, builder.ErrNotFound) || amazon.IsCode(err, "UnauthorizedOperation") || err == nil && pair.PublicKey == nil {
		z.sc.Log("the public key of key pair %s is not known: it stays in the image", k.Name)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []string{*pair.PublicKey}, nil
}
