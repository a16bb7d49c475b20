package ecr_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"bake/internal/sandbox/sandboxtest"
)

// pushPublic pushes an image to ECR Public and returns its host.
func pushPublic(t *testing.T, w *world, img v1.Image) string {
	t.Helper()
	c := ecrpublic.NewFromConfig(sandboxtest.Config(w.s, "us-east-1"))
	made, err := c.CreateRepository(t.Context(), &ecrpublic.CreateRepositoryInput{RepositoryName: aws.String("base")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.GetAuthorizationToken(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := base64.StdEncoding.DecodeString(*out.AuthorizationData.AuthorizationToken)
	tag, err := name.NewTag(*made.Repository.RepositoryUri + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img, remote.WithAuth(&authn.Basic{Username: "AWS", Password: strings.TrimPrefix(string(text), "AWS:")})); err != nil {
		t.Fatal(err)
	}
	return tag.RegistryStr()
}

func TestECRPublicIsPulledByAnybody(t *testing.T) {
	w := newWorld(t, ecr.CreateRepositoryInput{})
	img := w.image(10)
	host := pushPublic(t, w, img)
	tag, _ := name.NewTag(host + "/a2223333/base:1")
	if _, err := remote.Image(tag); err != nil {
		t.Error(err)
	}
	if s, _ := status(remote.Write(tag, w.image(20))); s != 401 {
		t.Errorf("pushed by anybody: %d", s)
	}
}
