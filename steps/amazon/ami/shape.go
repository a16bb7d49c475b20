package ami

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// shape brings the stopped machine to what its image is to support, as far as
// the image would take it over from the machine: then it need not be registered
// a second time when it is published. That is ENA, which can be switched on for
// an instance that is stopped (ModifyInstanceAttribute), and the boot mode uefi,
// which CreateImage takes of an instance that has booted so.
func (z *freezing) shape(ctx context.Context) error {
	ena := z.want.ENA != nil && *z.want.ENA
	if !ena && z.want.BootMode == "" || z.facts.Captured == z.m.ID {
		return nil
	}
	i, err := z.cloud.WaitInstance(ctx, z.access, z.m.ID, func(i types.Instance) (bool, error) { return true, gone(i) })
	if err != nil {
		return err
	}
	if z.want.BootMode == string(types.BootModeValuesUefi) && i.BootMode != types.BootModeValuesUefi && i.CurrentInstanceBootMode == types.InstanceBootModeValuesUefi {
		z.bootMode = types.BootModeOverrideValuesUefi
	}
	if !ena || aws.ToBool(i.EnaSupport) || i.State == nil || i.State.Name != types.InstanceStateNameStopped {
		return nil
	}
	_, err = z.client.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &z.m.ID, EnaSupport: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	if amazon.IsCode(err, "UnauthorizedOperation") {
		return nil // publishing registers the image with it
	}
	if err != nil {
		return fmt.Errorf("switching ENA on for instance %s: %w", z.m.ID, err)
	}
	return nil
}
