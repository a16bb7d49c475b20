package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// RegisterImage makes a root filesystem, a tar or a folder of this machine, an
// AMI of the sandbox's own account, and returns its id when instances can be
// started from it. One of the name that is there already stays, and is returned.
func (s *Sandbox) RegisterImage(ctx context.Context, region, name, path string) (string, error) {
	client := ec2.New(ec2.Options{Region: region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", "")})
	out, err := client.RegisterImage(ctx, &ec2.RegisterImageInput{Name: &name, ImageLocation: &path, Description: aws.String("from " + path)})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "InvalidAMIName.Duplicate" {
		return s.awaitImage(ctx, client, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{name}}}}, name)
	}
	if err != nil {
		return "", fmt.Errorf("registering %s as %s: %w", path, name, err)
	}
	return s.awaitImage(ctx, client, &ec2.DescribeImagesInput{ImageIds: []string{aws.ToString(out.ImageId)}}, name)
}

func (s *Sandbox) awaitImage(ctx context.Context, client *ec2.Client, in *ec2.DescribeImagesInput, name string) (string, error) {
	for {
		out, err := client.DescribeImages(ctx, in)
		switch {
		case err != nil:
			return "", fmt.Errorf("registering %s: %w", name, err)
		case len(out.Images) == 0:
			return "", fmt.Errorf("registering %s: the image is gone", name)
		case out.Images[0].State == types.ImageStateAvailable:
			return aws.ToString(out.Images[0].ImageId), nil
		case out.Images[0].State == types.ImageStateFailed:
			reason := aws.ToString(out.Images[0].StateReason.Message)
			_, err := client.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: out.Images[0].ImageId})
			return "", errors.Join(fmt.Errorf("registering %s: %s", name, reason), err)
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(50 * time.Millisecond): // between two looks
		}
	}
}
