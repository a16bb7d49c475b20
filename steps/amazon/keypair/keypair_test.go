package keypair_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/keypair"
)

const region = "eu-west-1"

func key(t *testing.T, args ...string) keypair.Key {
	t.Helper()
	if len(args) == 0 {
		args = []string{"-t", "ed25519"}
	}
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command(need.Tool(t, "ssh-keygen"), append([]string{"-q", "-N", "", "-f", file}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k, err := keypair.Load("", file+".pub")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func client(s *sandbox.Sandbox) *ec2.Client {
	return ec2.NewFromConfig(sandboxtest.Config(s, region))
}

func ensure(t *testing.T, s *sandbox.Sandbox, k keypair.Key, tags map[string]string, want keypair.Change) {
	t.Helper()
	got, err := keypair.Ensure(t.Context(), client(s), "ops", k, tags)
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	have, err := keypair.Find(t.Context(), client(s), "ops")
	if err != nil || !k.Same(aws.ToString(have.PublicKey)) || aws.ToString(have.KeyFingerprint) != k.Fingerprint() {
		t.Errorf("it is %s %s now, want %s (%v)", aws.ToString(have.PublicKey), aws.ToString(have.KeyFingerprint), k.Fingerprint(), err)
	}
}

func TestAKeyPairIsImportedOnceAndReplacedWhenItsMaterialDiffers(t *testing.T) {
	for _, kind := range [][]string{{"-t", "ed25519"}, {"-t", "rsa", "-b", "2048"}} {
		s := sandboxtest.Start(t)
		first, second := key(t, kind...), key(t, kind...)
		ensure(t, s, first, map[string]string{"team": "ops"}, keypair.Imported)
		ensure(t, s, first, map[string]string{"team": "ops"}, keypair.Unchanged)
		ensure(t, s, first, map[string]string{"team": "web"}, keypair.Retagged)
		ensure(t, s, second, map[string]string{"team": "web"}, keypair.Replaced)
		ensure(t, s, second, nil, keypair.Unchanged)
		if n := s.Faults.Counts()["ec2:ImportKeyPair"]; n != 2 {
			t.Errorf("%v: %d imports", kind, n)
		}
		have, err := keypair.Find(t.Context(), client(s), "ops")
		if err != nil || len(have.Tags) != 1 || aws.ToString(have.Tags[0].Value) != "web" {
			t.Errorf("the tags were lost: %v, %v", have.Tags, err)
		}
	}
}

func TestANameWithWildcardsIsThatName(t *testing.T) {
	s := sandboxtest.Start(t)
	if _, err := keypair.Ensure(t.Context(), client(s), "ops-1", key(t), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := keypair.Find(t.Context(), client(s), "ops-*"); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("ops-* is %v", err)
	}
}

func TestWhatGoesWrongAtAnyCallLeavesAKeyPairOfTheNameAndARerunMakesItRight(t *testing.T) {
	old, wanted := key(t), key(t)
	for _, kind := range []api.Kind{api.FaultError, api.FaultLost, api.FaultDrop, api.FaultThrottle} {
		for _, action := range []string{"DescribeKeyPairs", "DeleteKeyPair", "ImportKeyPair"} {
			t.Run(fmt.Sprint(kind, " ", action), func(t *testing.T) {
				s := sandboxtest.Start(t)
				if _, err := keypair.Ensure(t.Context(), client(s), "ops", old, nil); err != nil {
					t.Fatal(err)
				}
				if err := s.Faults.Add(api.Fault{Action: action, Kind: kind, Code: "InternalError"}); err != nil {
					t.Fatal(err)
				}
				_, err := keypair.Ensure(t.Context(), client(s), "ops", wanted, nil)
				have, ferr := keypair.Find(t.Context(), client(s), "ops")
				if ferr != nil && action == "ImportKeyPair" {
					t.Errorf("after %v the name stands for nothing: %v", err, ferr)
				}
				if err == nil && !wanted.Same(aws.ToString(have.PublicKey)) {
					t.Error("it said that it was done, and it was not")
				}
				s.Faults.Clear()
				if _, err := keypair.Ensure(t.Context(), client(s), "ops", wanted, nil); err != nil {
					t.Errorf("the next run: %v", err)
				}
				if have, err := keypair.Find(t.Context(), client(s), "ops"); err != nil || !wanted.Same(aws.ToString(have.PublicKey)) {
					t.Errorf("after the next run: %v", err)
				}
			})
		}
	}
}

func TestADenialIsNotTakenForAbsence(t *testing.T) {
	s := sandboxtest.Start(t)
	if err := s.Faults.Add(api.Fault{Action: "DescribeKeyPairs", Kind: api.FaultError, Code: "UnauthorizedOperation", Times: -1}); err != nil {
		t.Fatal(err)
	}
	_, err := keypair.Ensure(t.Context(), client(s), "ops", key(t), nil)
	if !amazon.IsCode(err, "UnauthorizedOperation") || s.Faults.Counts()["ec2:ImportKeyPair"] != 0 {
		t.Errorf("%v, %v", err, s.Faults.Counts())
	}
}

func TestTheKeyringListsShowsAndDeletes(t *testing.T) {
	s := sandboxtest.Start(t)
	ring, err := keypair.Open(t.Context(), amazon.New(amazon.Options{Endpoint: s.URL}), amazon.Access{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a"} {
		if _, err := ring.Ensure(t.Context(), name, key(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	all, err := ring.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[0].Type != "ed25519" || !strings.HasPrefix(all[0].PublicKey, "ssh-ed25519 ") || all[0].Created.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	if err := ring.Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := ring.Delete(t.Context(), "a"); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("deleting it twice: %v", err)
	}
}
