package elb_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"bake/internal/sandbox/api"
)

// TestAnHTTPSListenerShowsACertificateOfTheSandboxsOwnAuthority asks with and
// without belief in it, and then of a listener that was changed to HTTP.
func TestAnHTTPSListenerShowsACertificateOfTheSandboxsOwnAuthority(t *testing.T) {
	w := newWorld(t)
	// Control handlers are the server's: this one shares nothing with the world but the T.
	control := httptest.NewServer(api.NewServer(&api.World{Account: "123456789012", Now: time.Now}, w.elb.Service()))
	defer control.Close()
	res, err := http.Get(control.URL + "/_sandbox/elasticloadbalancing/ca.pem")
	w.check(err)
	pem, err := io.ReadAll(res.Body)
	w.check(err)
	res.Body.Close()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("not a certificate: %q", pem)
	}
	b, err := w.CreateLoadBalancer(t.Context(), &sdk.CreateLoadBalancerInput{Name: aws.String("web"), Subnets: []string{"subnet-1", "subnet-2"}})
	w.check(err)
	answer := []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: aws.String("200"), MessageBody: aws.String("secret")}}}
	l, err := w.CreateListener(t.Context(), &sdk.CreateListenerInput{LoadBalancerArn: b.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(8443), Protocol: types.ProtocolEnumHttps,
		Certificates: []types.Certificate{{CertificateArn: aws.String("arn:aws:acm:eu-west-1:123456789012:certificate/1")}}, DefaultActions: answer})
	w.check(err)
	at := *b.LoadBalancers[0].DNSName + ":8443"
	get := func(url string, roots *x509.CertPool, name string) (string, error) {
		c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
		res, err := c.Get(url)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
	for _, name := range []string{"", "shop.example.com"} {
		if got, err := get("https://"+at, roots, name); err != nil || got != "secret" {
			t.Errorf("as %q: %q %v", name, got, err)
		}
	}
	if _, err := get("https://"+at, nil, ""); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without belief in the authority: %v", err)
	}
	_, err = w.ModifyListener(t.Context(), &sdk.ModifyListenerInput{ListenerArn: l.Listeners[0].ListenerArn, Protocol: types.ProtocolEnumHttp})
	w.check(err)
	if got, err := get("http://"+at, nil, ""); err != nil || got != "secret" {
		t.Errorf("as HTTP: %q %v", got, err)
	}
}
