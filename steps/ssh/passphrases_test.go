package ssh

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"bake/internal/sshtest"
)

// typing answers questions with lines and keeps the questions.
func typing(asked *[]string, lines ...string) *Passphrases {
	return NewPassphrases(func(_ context.Context, question string) (string, error) {
		*asked = append(*asked, question)
		if len(lines) == 0 {
			return "", errors.New("nobody is there")
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	})
}

func TestThePassphraseOfAnEncryptedKeyIsAskedForOnce(t *testing.T) {
	_, text := sshtest.NewKey(t, "ed25519")
	key := Key{File: write(t, "id", encrypted(t, text, "open sesame"))}
	var asked []string
	p := typing(&asked, "open barley", "open sesame")
	for range 2 {
		c := Config{Hop: Hop{Auth: Auth{Keys: []Key{key}}}, Jumps: []Hop{{Auth: Auth{Keys: []Key{key}}}}, Passphrase: p.of}
		if err := c.unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, h := range []Hop{c.Hop, c.Jumps[0]} {
			if _, err := newLogin(h.Auth); err != nil {
				t.Error(err)
			}
		}
	}
	want := []string{"passphrase of SSH key " + key.File, "that is not it; passphrase of SSH key " + key.File}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestNobodyIsAskedForAPassphraseThatIsNotNeeded(t *testing.T) {
	_, plain := sshtest.NewKey(t, "ed25519")
	locked := Key{File: write(t, "id", encrypted(t, plain, "x")), Optional: true}
	for name, a := range map[string]Auth{
		"another key": {Keys: []Key{locked, {PEM: []byte(plain)}}},
		"the agent":   {Keys: []Key{locked}, Agent: "env"},
		"a password":  {Keys: []Key{locked}, Password: "x"},
	} {
		var asked []string
		if err := a.unlock(t.Context(), typing(&asked).of); err != nil || len(asked) > 0 {
			t.Errorf("%s: error %v, asked %q", name, err, asked)
		}
	}
}

func TestAPassphraseThatIsWrongThreeTimesIsSaidToBeWrong(t *testing.T) {
	_, text := sshtest.NewKey(t, "ed25519")
	a := Auth{Keys: []Key{{File: write(t, "id", encrypted(t, text, "open sesame"))}}}
	var asked []string
	err := a.unlock(t.Context(), typing(&asked, "a", "b", "c", "open sesame").of)
	if err == nil || !strings.Contains(err.Error(), "the passphrase is wrong") || len(asked) != 3 {
		t.Errorf("error %v after %d questions", err, len(asked))
	}
}

func TestKeysThatOthersCanReadAreTold(t *testing.T) {
	private, shared := write(t, "id", "x"), write(t, "id", "x")
	if err := os.Chmod(shared, 0o644); err != nil {
		t.Fatal(err)
	}
	a := Auth{Keys: []Key{{File: private}, {File: shared}, {File: "/no/such/key", Optional: true}, {PEM: []byte("x")}}}
	if got := a.exposed(); !slices.Equal(got, []string{shared}) {
		t.Errorf("told of %q, want %q", got, shared)
	}
}
