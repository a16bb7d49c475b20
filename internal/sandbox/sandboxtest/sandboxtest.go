// Package sandboxtest starts a local AWS for a test, and the clients that
// people use against it.
package sandboxtest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"bake/internal/need"
	"bake/internal/sandbox"
)

// Account is the account of callers with any key; a key id of twelve digits is
// the account with that number.
const Account = "111122223333"

// Start starts a sandbox in memory that stops with the test. States take no time.
func Start(t testing.TB) *sandbox.Sandbox {
	t.Helper()
	return StartWith(t, sandbox.Options{Account: Account})
}

// StartWith starts a sandbox that stops with the test.
func StartWith(t testing.TB, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the sandbox: %v", err)
		}
	})
	return s
}

// Config is the SDK's configuration for a sandbox, without retries: a fault is seen.
func Config(s *sandbox.Sandbox, region string) aws.Config {
	return ConfigAs(s, region, "any", "any", "")
}

// ConfigAs is Config with credentials.
func ConfigAs(s *sandbox.Sandbox, region, key, secret, token string) aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(s.URL),
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, token),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		HTTPClient:  Whole{},
	}
}

// Whole is an HTTP client that returns an answer when all of it has come. The
// SDK closes a request's body once it has an answer's headers; if that is before
// the transport has looked for the body's end, the connection is cut under the
// answer. Against a server as near as this one that happens now and then, and
// without retries it is seen.
type Whole struct{}

// Do carries out a request.
func (Whole) Do(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// Env is the environment in which AWS's clients use the sandbox and nothing of
// the user's: os.Environ without AWS_*, and with the sandbox's.
func Env(s *sandbox.Sandbox, region string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "AWS_") {
			env = append(env, kv)
		}
	}
	return append(env, "AWS_ENDPOINT_URL="+s.URL, "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region,
		"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1")
}

// CLI runs the AWS CLI against the sandbox and returns what it prints; it fails
// the test if the CLI fails, and skips it where there is none.
func CLI(t testing.TB, s *sandbox.Sandbox, region string, args ...string) string {
	t.Helper()
	out, stderr, err := TryCLI(t, s, region, args...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return out
}

// TryCLI is CLI for what may fail.
func TryCLI(t testing.TB, s *sandbox.Sandbox, region string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	// Old ones do not know AWS_ENDPOINT_URL.
	cmd := exec.CommandContext(t.Context(), need.Tool(t, "aws"), append([]string{"--endpoint-url", s.URL, "--output", "json"}, args...)...)
	cmd.Env = Env(s, region)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}
