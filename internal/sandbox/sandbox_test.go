package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

func TestTheAWSCLISaysWhoItIs(t *testing.T) {
	s := sandboxtest.Start(t)
	var who struct{ Account, Arn string }
	if err := json.Unmarshal([]byte(sandboxtest.CLI(t, s, "eu-west-1", "sts", "get-caller-identity")), &who); err != nil {
		t.Fatal(err)
	}
	if who.Account != sandboxtest.Account || who.Arn != "arn:aws:iam::111122223333:user/sandbox" {
		t.Errorf("%+v", who)
	}
	if out := sandboxtest.CLI(t, s, "eu-west-1", "iam", "list-roles"); !strings.Contains(out, `"Roles": []`) {
		t.Errorf("no roles are an empty list: %s", out)
	}
}

func TestAFolderKeepsTheStateForTheNextStart(t *testing.T) {
	dir := t.TempDir()
	create := func(s *sandbox.Sandbox) error {
		_, err := iam.NewFromConfig(sandboxtest.Config(s, "us-east-1")).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("r"),
			AssumeRolePolicyDocument: aws.String(`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}}`)})
		return err
	}
	first, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := create(first); err != nil {
		t.Fatal(err)
	}
	// As after a kill -9: what was answered is on the disk already.
	state, err := os.ReadFile(dir + "/state/iam.json")
	if err != nil || !strings.Contains(string(state), `"r"`) {
		t.Errorf("state: %s, %v", state, err)
	}
	_, err = sandbox.Start(t.Context(), sandbox.Options{Dir: dir})
	if busy, ok := errors.AsType[*sandbox.BusyError](err); !ok || busy.URL != first.URL {
		t.Errorf("a second one in the same folder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := sandboxtest.StartWith(t, sandbox.Options{Dir: dir})
	if err := create(second); err == nil || !strings.Contains(err.Error(), "EntityAlreadyExists") {
		t.Errorf("the role is forgotten: %v", err)
	}
}

// A disk that is full, and a process that is killed while it writes.
func TestAStateThatCannotBeWrittenIsToldAndTheOldOneStays(t *testing.T) {
	dir := t.TempDir()
	first, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := ec2.NewFromConfig(sandboxtest.Config(first, "us-east-1"))
	group := func(name string) error {
		_, err := c.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &name})
		return err
	}
	if err := group("kept"); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "state/ec2.json"))
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	// A folder that is not there fails as a full disk does, without mounting one.
	if err := os.Rename(state, state+".aside"); err != nil {
		t.Fatal(err)
	}
	if err := group("lost"); err == nil || !strings.Contains(err.Error(), "InternalError") {
		t.Errorf("the state was not written: %v", err)
	}
	if err := os.Rename(state+".aside", state); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(state, "ec2.json")); err != nil || !bytes.Equal(data, whole) {
		t.Errorf("the old state is not what it was: %v", err)
	}
	if err := group("last"); err != nil { // there is room again
		t.Errorf("with room again: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// What a writer left that was killed half-way is nothing to the next.
	for _, name := range []string{"ec2.json.new", "ec2.json.tmp-1"} {
		if err := os.WriteFile(filepath.Join(state, name), whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := sandboxtest.StartWith(t, sandbox.Options{Dir: dir})
	c = ec2.NewFromConfig(sandboxtest.Config(second, "us-east-1"))
	for name, code := range map[string]string{"kept": "Duplicate", "last": "Duplicate"} {
		if err := group(name); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%s is forgotten: %v", name, err)
		}
	}
}

func TestAStateThatIsNoneNamesItsFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state/ec2.json"), []byte(`{"Seq": 1, "Reg`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "state of ec2 in "+dir) {
		t.Errorf("it starts with half a state: %v, %v", s, err)
	}
}

func TestWhatNoCallerHearsOfIsLogged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "machines"), nil, 0o600); err != nil { // where the disks are to be
		t.Fatal(err)
	}
	var said lines
	s := sandboxtest.StartWith(t, sandbox.Options{Dir: dir, Log: log.New(&said, "", 0)})
	out, err := ec2.NewFromConfig(sandboxtest.Config(s, "us-east-1")).CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "making the disk "+*out.VolumeId) {
		t.Errorf("logged: %q", said.String())
	}
}

// lines are what was logged, by whichever goroutine.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestItListensOnLoopbackAlone(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "10.1.2.3:0"} {
		if s, err := sandbox.Start(t.Context(), sandbox.Options{Addr: addr}); err == nil {
			t.Errorf("%s: it listens", addr)
			s.Close()
		}
	}
}

func TestATemporarySandboxLeavesNothing(t *testing.T) {
	s, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.World.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", s.World.Dir, err)
	}
}
