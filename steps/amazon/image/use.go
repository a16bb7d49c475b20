package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// uses tells what in a region would miss images: instances that run from them
// and launch templates whose default or newest version starts them. The answer
// is by image, in words.
func uses(ctx context.Context, client *ec2.Client, ids []string) (map[string][]string, error) {
	used := map[string][]string{}
	if len(ids) == 0 {
		return used, nil
	}
	for chunk := range slices.Chunk(ids, 200) { // as many values as a filter takes
		pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{
			amazon.Filter("image-id", chunk...), amazon.Filter("instance-state-name", "pending", "running", "stopping", "stopped"),
		}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("looking for instances: %w", err)
			}
			for _, r := range page.Reservations {
				for _, i := range r.Instances {
					id := aws.ToString(i.ImageId)
					used[id] = append(used[id], fmt.Sprintf("instance %s (%s)", aws.ToString(i.InstanceId), i.State.Name))
				}
			}
		}
	}
	pages := ec2.NewDescribeLaunchTemplateVersionsPaginator(client, &ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Default", "$Latest"}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for launch templates: %w", err)
		}
		for _, v := range page.LaunchTemplateVersions {
			if v.LaunchTemplateData == nil || !slices.Contains(ids, aws.ToString(v.LaunchTemplateData.ImageId)) {
				continue
			}
			id, words := *v.LaunchTemplateData.ImageId, fmt.Sprintf("launch template %s version %d", aws.ToString(v.LaunchTemplateName), aws.ToInt64(v.VersionNumber))
			if !slices.Contains(used[id], words) { // the default version may be the newest
				used[id] = append(used[id], words)
			}
		}
	}
	return used, nil
}
