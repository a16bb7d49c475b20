package ec2

import (
	"maps"

	"bake/internal/sandbox/api"
)

// Service returns EC2's actions.
func (x *Control) Service() *api.Service {
	all := map[string]api.Action{}
	for _, part := range []map[string]api.Action{x.placeActions(), x.networkActions(), x.instanceActions(), x.storageActions(), x.imageActions(), x.templateActions()} {
		maps.Copy(all, part)
	}
	return &api.Service{Name: "ec2", Protocol: api.EC2, Version: "2016-11-15", XMLNS: "http://ec2.amazonaws.com/doc/2016-11-15/", Actions: all, Control: x.handler()}
}

func (x *Control) placeActions() map[string]api.Action {
	return map[string]api.Action{
		"DescribeRegions":               act(x, (*op).describeRegions),
		"DescribeAvailabilityZones":     act(x, (*op).describeZones),
		"DescribeAccountAttributes":     act(x, (*op).describeAccountAttributes),
		"DescribeInstanceTypes":         act(x, (*op).describeInstanceTypes),
		"DescribeInstanceTypeOfferings": act(x, (*op).describeOfferings),
		"CreateTags":                    act(x, (*op).createTags),
		"DeleteTags":                    act(x, (*op).deleteTags),
		"DescribeTags":                  act(x, (*op).describeTags),
		"ImportKeyPair":                 act(x, (*op).importKeyPair),
		"CreateKeyPair":                 act(x, (*op).createKeyPair),
		"DeleteKeyPair":                 act(x, (*op).deleteKeyPair),
		"DescribeKeyPairs":              act(x, (*op).describeKeyPairs),
		"GetEbsEncryptionByDefault":     act(x, (*op).getEncryptByDefault),
		"EnableEbsEncryptionByDefault":  act(x, (*op).enableEncryptByDefault),
		"DisableEbsEncryptionByDefault": act(x, (*op).disableEncryptByDefault),
		"GetEbsDefaultKmsKeyId":         act(x, (*op).getDefaultKey),
		"ModifyEbsDefaultKmsKeyId":      act(x, (*op).modifyDefaultKey),
		"ResetEbsDefaultKmsKeyId":       act(x, (*op).resetDefaultKey),
	}
}

func (x *Control) networkActions() map[string]api.Action {
	return map[string]api.Action{
		"DescribeVpcs":                     act(x, (*op).describeVpcs),
		"CreateVpc":                        act(x, (*op).createVpc),
		"CreateDefaultVpc":                 act(x, (*op).createDefaultVpc),
		"DeleteVpc":                        act(x, (*op).deleteVpc),
		"DescribeVpcClassicLink":           act(x, (*op).describeClassicLink),
		"DescribeVpcClassicLinkDnsSupport": act(x, (*op).describeClassicDNS),
		"DescribeVpcAttribute":             act(x, (*op).describeVpcAttribute),
		"AssociateVpcCidrBlock":            act(x, (*op).associateVpc),
		"DisassociateVpcCidrBlock":         act(x, (*op).disassociateVpc),
		"AssociateSubnetCidrBlock":         act(x, (*op).associateSubnet),
		"DisassociateSubnetCidrBlock":      act(x, (*op).disassociateSubnet),
		"AssignIpv6Addresses":              act(x, (*op).assign6),
		"UnassignIpv6Addresses":            act(x, (*op).unassign6),
		"DescribeSubnets":                  act(x, (*op).describeSubnets),
		"CreateSubnet":                     act(x, (*op).createSubnet),
		"DeleteSubnet":                     act(x, (*op).deleteSubnet),
		"ModifySubnetAttribute":            act(x, (*op).modifySubnet),
		"DescribeRouteTables":              act(x, (*op).describeRoutes),
		"AllocateAddress":                  act(x, (*op).allocateAddress),
		"AssociateAddress":                 act(x, (*op).associateAddress),
		"DisassociateAddress":              act(x, (*op).disassociateAddress),
		"ReleaseAddress":                   act(x, (*op).releaseAddress),
		"DescribeAddresses":                act(x, (*op).describeAddresses),
		"DescribeInternetGateways":         act(x, (*op).describeGateways),
		"CreateInternetGateway":            act(x, (*op).createGateway),
		"AttachInternetGateway":            act(x, (*op).attachGateway),
		"DetachInternetGateway":            act(x, (*op).detachGateway),
		"DeleteInternetGateway":            act(x, (*op).deleteGateway),
		"CreateRouteTable":                 act(x, (*op).createRoutes),
		"DeleteRouteTable":                 act(x, (*op).deleteRoutes),
		"AssociateRouteTable":              act(x, (*op).associateRoutes),
		"DisassociateRouteTable":           act(x, (*op).disassociateRoutes),
		"CreateRoute":                      act(x, (*op).createRoute),
		"ReplaceRoute":                     act(x, (*op).replaceRoute),
		"DeleteRoute":                      act(x, (*op).deleteRoute),
		"DescribeNetworkInterfaces":        act(x, (*op).describeInterfaces),
		"CreateSecurityGroup":              act(x, (*op).createSecurityGroup),
		"DeleteSecurityGroup":              act(x, (*op).deleteSecurityGroup),
		"DescribeSecurityGroups":           act(x, (*op).describeSecurityGroups),
		"DescribeSecurityGroupRules":       act(x, (*op).describeRules),
		"AuthorizeSecurityGroupIngress":    act(x, (*op).authorizeIngress),
		"AuthorizeSecurityGroupEgress":     act(x, (*op).authorizeEgress),
		"RevokeSecurityGroupIngress":       act(x, (*op).revokeIngress),
		"RevokeSecurityGroupEgress":        act(x, (*op).revokeEgress),
		"ModifySecurityGroupRules":         act(x, (*op).modifyRules),
		"ModifyVpcAttribute":               act(x, (*op).modifyVpc),

		"UpdateSecurityGroupRuleDescriptionsIngress": act(x, (*op).describeIngressAgain),
		"UpdateSecurityGroupRuleDescriptionsEgress":  act(x, (*op).describeEgressAgain),
	}
}

func (x *Control) instanceActions() map[string]api.Action {
	return map[string]api.Action{
		"RunInstances":                           act(x, (*op).runInstances),
		"DescribeInstances":                      act(x, (*op).describeInstances),
		"DescribeInstanceStatus":                 act(x, (*op).describeStatus),
		"TerminateInstances":                     act(x, (*op).terminateInstances),
		"StopInstances":                          act(x, (*op).stopInstances),
		"StartInstances":                         act(x, (*op).startInstances),
		"RebootInstances":                        act(x, (*op).rebootInstances),
		"ModifyInstanceAttribute":                act(x, (*op).modifyInstance),
		"DescribeInstanceAttribute":              act(x, (*op).describeInstanceAttribute),
		"ModifyInstanceMetadataOptions":          act(x, (*op).modifyMetadata),
		"GetConsoleOutput":                       act(x, (*op).console),
		"GetPasswordData":                        act(x, (*op).password),
		"MonitorInstances":                       act(x, (*op).monitor),
		"UnmonitorInstances":                     act(x, (*op).unmonitor),
		"ModifyInstanceCreditSpecification":      act(x, (*op).modifyCredits),
		"DescribeInstanceCreditSpecifications":   act(x, (*op).describeCredits),
		"AssociateIamInstanceProfile":            act(x, (*op).associateProfile),
		"DisassociateIamInstanceProfile":         act(x, (*op).disassociateProfile),
		"ReplaceIamInstanceProfileAssociation":   act(x, (*op).replaceProfile),
		"DescribeIamInstanceProfileAssociations": act(x, (*op).describeProfiles),
		"CreateFleet":                            act(x, (*op).createFleet),
		"DeleteFleets":                           act(x, (*op).deleteFleets),
		"DescribeFleets":                         act(x, (*op).describeFleets),
		"RequestSpotInstances":                   act(x, (*op).requestSpot),
		"DescribeSpotInstanceRequests":           act(x, (*op).describeSpot),
		"CancelSpotInstanceRequests":             act(x, (*op).cancelSpot),
		"DescribeSpotPriceHistory":               act(x, (*op).spotPrices),
		"CreateCapacityReservation":              act(x, (*op).createCapacity),
		"CancelCapacityReservation":              act(x, (*op).cancelCapacity),
		"DescribeCapacityReservations":           act(x, (*op).describeCapacity),
	}
}

func (x *Control) storageActions() map[string]api.Action {
	return map[string]api.Action{
		"CreateVolume":                      act(x, (*op).createVolume),
		"DeleteVolume":                      act(x, (*op).deleteVolume),
		"AttachVolume":                      act(x, (*op).attachVolume),
		"DetachVolume":                      act(x, (*op).detachVolume),
		"ModifyVolume":                      act(x, (*op).modifyVolume),
		"DescribeVolumes":                   act(x, (*op).describeVolumes),
		"DescribeVolumeStatus":              act(x, (*op).describeVolumeStatus),
		"DescribeVolumesModifications":      act(x, (*op).describeVolumeChanges),
		"CreateSnapshot":                    act(x, (*op).createSnapshot),
		"CreateSnapshots":                   act(x, (*op).createSnapshots),
		"CopySnapshot":                      act(x, (*op).copySnapshot),
		"DeleteSnapshot":                    act(x, (*op).deleteSnapshot),
		"DescribeSnapshots":                 act(x, (*op).describeSnapshots),
		"ModifySnapshotAttribute":           act(x, (*op).modifySnapshot),
		"DescribeSnapshotAttribute":         act(x, (*op).describeSnapshotAttribute),
		"ResetSnapshotAttribute":            act(x, (*op).resetSnapshotAttribute),
		"GetSnapshotBlockPublicAccessState": act(x, (*op).getSnapshotBlock),
		"EnableSnapshotBlockPublicAccess":   act(x, (*op).enableSnapshotBlock),
		"DisableSnapshotBlockPublicAccess":  act(x, (*op).disableSnapshotBlock),
	}
}

func (x *Control) imageActions() map[string]api.Action {
	return map[string]api.Action{
		"DescribeImages":                       act(x, (*op).describeImages),
		"CreateImage":                          act(x, (*op).createImage),
		"RegisterImage":                        act(x, (*op).registerImage),
		"CopyImage":                            act(x, (*op).copyImage),
		"DeregisterImage":                      act(x, (*op).deregisterImage),
		"ModifyImageAttribute":                 act(x, (*op).modifyImage),
		"DescribeImageAttribute":               act(x, (*op).describeImageAttribute),
		"ResetImageAttribute":                  act(x, (*op).resetImageAttribute),
		"EnableImageDeprecation":               act(x, (*op).enableDeprecation),
		"DisableImageDeprecation":              act(x, (*op).disableDeprecation),
		"EnableImageDeregistrationProtection":  act(x, (*op).enableProtection),
		"DisableImageDeregistrationProtection": act(x, (*op).disableProtection),
		"EnableImage":                          act(x, (*op).enableImage),
		"DisableImage":                         act(x, (*op).disableImage),
		"EnableFastLaunch":                     act(x, (*op).enableFastLaunch),
		"DisableFastLaunch":                    act(x, (*op).disableFastLaunch),
		"DescribeFastLaunchImages":             act(x, (*op).describeFastLaunch),
		"GetImageBlockPublicAccessState":       act(x, (*op).getImageBlock),
		"EnableImageBlockPublicAccess":         act(x, (*op).enableImageBlock),
		"DisableImageBlockPublicAccess":        act(x, (*op).disableImageBlock),
	}
}

func (x *Control) templateActions() map[string]api.Action {
	return map[string]api.Action{
		"CreateLaunchTemplate":           act(x, (*op).createTemplate),
		"CreateLaunchTemplateVersion":    act(x, (*op).createVersion),
		"ModifyLaunchTemplate":           act(x, (*op).modifyTemplate),
		"DeleteLaunchTemplate":           act(x, (*op).deleteTemplate),
		"DeleteLaunchTemplateVersions":   act(x, (*op).deleteVersions),
		"DescribeLaunchTemplates":        act(x, (*op).describeTemplates),
		"DescribeLaunchTemplateVersions": act(x, (*op).describeVersions),
	}
}
