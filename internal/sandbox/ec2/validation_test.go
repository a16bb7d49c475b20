package ec2_test

import (
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"bake/internal/sandbox/ec2"
)

// raw makes a call of "Action Name=Value ..." and returns the answer, and the error's code and message.
func (c *cloud) raw(line string) (body, code, message string) {
	c.t.Helper()
	words := strings.Split(line, " ")
	form := url.Values{"Action": {words[0]}, "Version": {"2016-11-15"}}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		form.Set(k, strings.ReplaceAll(v, "~", " "))
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20261122/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, answer.Body); err != nil {
		c.t.Fatal(err)
	}
	var e struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	_ = xml.Unmarshal([]byte(b.String()), &e) // no error in it
	return b.String(), e.Code, e.Message
}

// field returns the text of the first element of the name.
func field(body, name string) string {
	_, rest, _ := strings.Cut(body, "<"+name+">")
	text, _, _ := strings.Cut(rest, "<")
	return text
}

// A place is a cloud with one of everything, for calls that are wrong in one thing.
type place struct {
	*cloud
	names *strings.Replacer
}

func newPlace(t *testing.T) *place {
	p := &place{cloud: start(t, ec2.Options{})}
	must := func(line, name string) string {
		t.Helper()
		body, code, message := p.raw(line)
		if code != "" {
			t.Fatalf("%s: %s: %s", line, code, message)
		}
		return field(body, name)
	}
	image := must("DescribeImages Owner.1=amazon Filter.1.Name=name Filter.1.Value.1=al2023*x86_64", "imageId")
	arm := must("DescribeImages Owner.1=amazon Filter.1.Name=architecture Filter.1.Value.1=arm64", "imageId")
	subnet := must("DescribeSubnets Filter.1.Name=availability-zone Filter.1.Value.1=us-east-1a", "subnetId")
	vpc := must("DescribeVpcs", "vpcId")
	other := must("CreateVpc CidrBlock=10.0.0.0/16", "vpcId")
	group := must("CreateSecurityGroup GroupName=g GroupDescription=d", "groupId")
	far := must("CreateSecurityGroup GroupName=far GroupDescription=d VpcId="+other, "groupId")
	run := must("RunInstances MinCount=1 MaxCount=1 InstanceType=t3.micro ImageId="+image+" SecurityGroupId.1="+group+" SubnetId="+subnet, "instanceId")
	p.clock.advance(time.Minute)
	halted := must("RunInstances MinCount=1 MaxCount=1 InstanceType=t3.micro ImageId="+image+" SubnetId="+subnet, "instanceId")
	p.clock.advance(time.Minute)
	must("StopInstances InstanceId.1="+halted, "name")
	p.clock.advance(time.Minute)
	volume := must("CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=gp3", "volumeId")
	foreign := must("CreateVolume AvailabilityZone=us-east-1b Size=10", "volumeId")
	p.clock.advance(time.Minute)
	mine := must("CreateImage Name=mine InstanceId="+halted, "imageId")
	p.clock.advance(2 * time.Minute)
	snapshot := must("DescribeImages ImageId.1="+mine, "snapshotId")
	root := must("DescribeInstances InstanceId.1="+run, "volumeId")
	must("CreateLaunchTemplate LaunchTemplateName=template LaunchTemplateData.InstanceType=t3.micro", "launchTemplateId")
	must("ImportKeyPair KeyName=key PublicKeyMaterial="+base64.StdEncoding.EncodeToString([]byte(ed25519Key)), "keyPairId")
	must("ModifyInstanceAttribute InstanceId="+halted+" DisableApiTermination.Value=true", "return")
	address := must("DescribeInstances InstanceId.1="+run, "privateIpAddress")
	pending := must("CreateImage Name=pending InstanceId="+halted, "imageId")
	p.names = strings.NewReplacer("IMAGE", image, "ARM", arm, "SUBNET", subnet, "VPC", vpc, "OTHER", other, "GROUP", group, "FAR", far, "RUNNING", run, "STOPPED", halted,
		"VOLUME", volume, "FOREIGN", foreign, "MINE", mine, "SNAPSHOT", snapshot, "ROOT", root, "PENDING", pending, "ADDRESS", address)
	return p
}

const ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGUqXUWQmyFpwQzTi9e0yLFF9vlaDmjlAYYFLLkpWB8n x"

const runLine = "RunInstances MinCount=1 MaxCount=1 InstanceType=t3.micro ImageId=IMAGE"

func TestCallsThatAreWrongGetAWSsErrorCodes(t *testing.T) {
	p := newPlace(t)
	for _, row := range []struct{ line, code, says string }{
		{"Nonsense", "InvalidAction", ""},
		{"DescribeInstances Nonsense=1", "UnknownParameter", "Nonsense"},
		{"DescribeInstances InstanceId.1=i-12", "InvalidInstanceID.Malformed", "i-12"},
		{"DescribeInstances InstanceId.1=i-0123456789abcdef0", "InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef0' does not exist"},
		{"DescribeInstances Filter.1.Name=nonsense Filter.1.Value.1=x", "InvalidParameterValue", "The filter 'nonsense' is invalid"},
		{"DescribeInstances InstanceId.1=RUNNING MaxResults=5", "InvalidParameterCombination", ""},
		{"DescribeInstances MaxResults=4", "InvalidParameterValue", ""},
		{"DescribeInstances NextToken=x", "InvalidNextToken", ""},
		{"DescribeImages ImageId.1=ami-x", "InvalidAMIID.Malformed", ""},
		{"DescribeImages ImageId.1=ami-0123456789abcdef0", "InvalidAMIID.NotFound", ""},
		{"DescribeImages Owner.1=nobody", "InvalidUserID.Malformed", ""},
		{"DescribeSnapshots SnapshotId.1=snap-0123456789abcdef0", "InvalidSnapshot.NotFound", ""},
		{"DescribeSnapshots SnapshotId.1=vol-0123456789abcdef0", "InvalidSnapshotID.Malformed", ""},
		{"DescribeVolumes VolumeId.1=vol-0123456789abcdef0", "InvalidVolume.NotFound", ""},
		{"DescribeSubnets SubnetId.1=subnet-0123456789abcdef0", "InvalidSubnetID.NotFound", ""},
		{"DescribeVpcs VpcId.1=vpc-0123456789abcdef0", "InvalidVpcID.NotFound", ""},
		{"DescribeSecurityGroups GroupId.1=sg-0123456789abcdef0", "InvalidGroup.NotFound", ""},
		{"DescribeSecurityGroups GroupId.1=x", "InvalidGroupId.Malformed", ""},
		{"DescribeSecurityGroups GroupName.1=none", "InvalidGroup.NotFound", ""},
		{"DescribeKeyPairs KeyName.1=none", "InvalidKeyPair.NotFound", "The key pair 'none' does not exist"},
		{"DescribeLaunchTemplates LaunchTemplateName.1=none", "InvalidLaunchTemplateName.NotFoundException", ""},
		{"DescribeInstanceTypes InstanceType.1=t9.huge", "InvalidInstanceType", ""},
		{"DescribeAvailabilityZones ZoneName.1=us-east-1z", "InvalidParameterValue", ""},

		{"ImportKeyPair KeyName=key PublicKeyMaterial=" + base64.StdEncoding.EncodeToString([]byte(ed25519Key)), "InvalidKeyPair.Duplicate", "key"},
		{"ImportKeyPair KeyName=k2 PublicKeyMaterial=bm9uc2Vuc2U=", "InvalidKey.Format", ""},
		{"ImportKeyPair KeyName=k2", "MissingParameter", "PublicKeyMaterial"},
		{"CreateKeyPair KeyName=k2 KeyType=dsa", "InvalidParameterValue", ""},
		{"CreateSecurityGroup GroupName=g GroupDescription=d", "InvalidGroup.Duplicate", ""},
		{"CreateSecurityGroup GroupName=default GroupDescription=d", "InvalidParameterValue", ""},
		{"CreateSecurityGroup GroupName=sg-x GroupDescription=d", "InvalidParameterValue", ""},
		{"DeleteSecurityGroup GroupId=GROUP", "DependencyViolation", ""},
		{"AuthorizeSecurityGroupIngress GroupId=GROUP IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=22 IpPermissions.1.ToPort=22 IpPermissions.1.IpRanges.1.CidrIp=1.2.3.4/40", "InvalidParameterValue", "malformed"},
		{"AuthorizeSecurityGroupIngress GroupId=GROUP IpPermissions.1.IpProtocol=tcp IpPermissions.1.FromPort=30 IpPermissions.1.ToPort=22 IpPermissions.1.IpRanges.1.CidrIp=1.2.3.4/32", "InvalidParameterValue", "range"},
		{"RevokeSecurityGroupIngress GroupId=GROUP IpProtocol=tcp FromPort=1 ToPort=1 CidrIp=1.2.3.4/32", "InvalidPermission.NotFound", ""},
		{"AuthorizeSecurityGroupEgress GroupId=GROUP IpPermissions.1.IpProtocol=-1 IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0", "InvalidPermission.Duplicate", ""},

		{"RunInstances MinCount=1 MaxCount=1 InstanceType=t3.micro", "MissingParameter", "ImageId"},
		{"RunInstances MaxCount=1 InstanceType=t3.micro ImageId=IMAGE", "MissingParameter", "MinCount"},
		{"RunInstances MinCount=0 MaxCount=1 ImageId=IMAGE", "InvalidParameterValue", "minCount"},
		{"RunInstances MinCount=2 MaxCount=1 ImageId=IMAGE", "InvalidParameterCombination", ""},
		{runLine + " InstanceType=t9.huge", "InvalidParameterValue", "Invalid value 't9.huge' for InstanceType."},
		{runLine + " ImageId=ARM", "InvalidParameterValue", "architecture"},
		{runLine + " ImageId=PENDING", "InvalidAMIID.Unavailable", ""},
		{runLine + " KeyName=none", "InvalidKeyPair.NotFound", ""},
		{runLine + " SubnetId=subnet-0123456789abcdef0", "InvalidSubnetID.NotFound", ""},
		{runLine + " SubnetId=SUBNET SecurityGroupId.1=FAR", "InvalidParameter", "different networks"},
		{runLine + " SecurityGroupId.1=sg-0123456789abcdef0", "InvalidGroup.NotFound", ""},
		{runLine + " SubnetId=SUBNET NetworkInterface.1.DeviceIndex=0", "InvalidParameterCombination", "subnet"},
		{runLine + " NetworkInterface.1.SubnetId=SUBNET", "MissingParameter", "device index"},
		{runLine + " UserData=***", "InvalidUserData.Malformed", ""},
		{runLine + " UserData=" + base64.StdEncoding.EncodeToString(make([]byte, 16385)), "InvalidParameterValue", "16384"},
		{runLine + " IamInstanceProfile.Name=none", "InvalidParameterValue", "Invalid IAM Instance Profile name"},
		{runLine + " IamInstanceProfile.Name=none DryRun=true", "InvalidParameterValue", "Invalid IAM Instance Profile name"},
		{runLine + " DryRun=true", "DryRunOperation", "Request would have succeeded"},
		{runLine + " MetadataOptions.HttpTokens=maybe", "InvalidParameterValue", "HttpTokens"},
		{runLine + " MetadataOptions.HttpPutResponseHopLimit=65", "InvalidParameterValue", "65"},
		{runLine + " EnclaveOptions.Enabled=true", "InvalidParameterCombination", "Enclaves"},
		{runLine + " InstanceType=m5.large CreditSpecification.CpuCredits=standard", "InvalidParameterCombination", "credit"},
		{runLine + " Placement.AvailabilityZone=us-east-1z", "InvalidParameterValue", "zone"},
		{runLine + " Placement.AvailabilityZone=us-east-1b SubnetId=SUBNET", "InvalidParameterValue", "subnet"},
		{runLine + " InstanceType=m7i.large Placement.AvailabilityZone=us-east-1c", "Unsupported", "not supported in your requested Availability Zone (us-east-1c)"},
		{runLine + " InstanceType=t3.2xlarge MinCount=200 MaxCount=200", "VcpuLimitExceeded", "1152"},
		{runLine + " BlockDeviceMapping.1.DeviceName=/dev/xvda BlockDeviceMapping.1.Ebs.VolumeSize=7", "InvalidBlockDeviceMapping", "smaller than snapshot"},
		{runLine + " BlockDeviceMapping.1.DeviceName=/dev/xvda BlockDeviceMapping.1.Ebs.VolumeType=st1", "InvalidParameterValue", ""},
		{runLine + " BlockDeviceMapping.1.DeviceName=/dev/xvdb BlockDeviceMapping.1.Ebs.VolumeType=gp3", "MissingParameter", "size or snapshotId"},
		{runLine + " BlockDeviceMapping.1.DeviceName=disk BlockDeviceMapping.1.Ebs.VolumeSize=9", "InvalidBlockDeviceMapping", "disk"},
		{runLine + " BlockDeviceMapping.1.DeviceName=/dev/xvda BlockDeviceMapping.1.NoDevice=", "InvalidBlockDeviceMapping", "root"},
		{runLine + " TagSpecification.1.ResourceType=instance TagSpecification.1.Tag.1.Key=aws:x", "InvalidParameterValue", "reserved"},
		{runLine + " TagSpecification.1.ResourceType=image TagSpecification.1.Tag.1.Key=x", "InvalidParameterValue", "taggable"},
		{runLine + " PrivateIpAddress=10.9.9.9 SubnetId=SUBNET", "InvalidParameterValue", "address range"},
		{runLine + " PrivateIpAddress=ADDRESS SubnetId=SUBNET", "InvalidIPAddress.InUse", "in use"},
		{runLine + " PrivateIpAddress=172.31.0.3 SubnetId=SUBNET", "InvalidParameterValue", "reserved"},
		{runLine + " MaxCount=2 PrivateIpAddress=172.31.0.9 SubnetId=SUBNET", "InvalidParameterCombination", "multiple"},

		{"StartInstances InstanceId.1=i-0123456789abcdef0", "InvalidInstanceID.NotFound", ""},
		{"RebootInstances InstanceId.1=STOPPED", "IncorrectInstanceState", ""},
		{"TerminateInstances InstanceId.1=STOPPED", "OperationNotPermitted", "disableApiTermination"},
		{"ModifyInstanceAttribute InstanceId=RUNNING InstanceType.Value=t3.small", "IncorrectInstanceState", "stopped"},
		{"ModifyInstanceAttribute InstanceId=RUNNING", "InvalidParameterCombination", "No attributes"},
		{"ModifyInstanceAttribute InstanceId=STOPPED InstanceType.Value=t3.small EbsOptimized.Value=true", "InvalidParameterCombination", ""},
		{"DescribeInstanceAttribute InstanceId=RUNNING Attribute=color", "InvalidParameterValue", ""},

		{"CreateVolume Size=1", "MissingParameter", "AvailabilityZone"},
		{"CreateVolume AvailabilityZone=us-east-1z Size=1", "InvalidZone.NotFound", ""},
		{"CreateVolume AvailabilityZone=us-east-1a", "MissingParameter", "size"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=0", "InvalidParameterValue", "too small"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=16385", "InvalidParameterValue", "too large"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=io1", "MissingParameter", "iops"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=io1 Iops=501", "InvalidParameterValue", "ratio"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=gp2 Iops=100", "InvalidParameterCombination", "iops"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=gp3 Iops=2999", "InvalidParameterValue", "too low"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 VolumeType=gp3 Throughput=800", "InvalidParameterValue", "ratio"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=124 VolumeType=st1", "InvalidParameterValue", "125"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=10 KmsKeyId=alias/x", "InvalidParameterDependency", "Encrypted"},
		{"CreateVolume AvailabilityZone=us-east-1a Size=7 SnapshotId=SNAPSHOT", "InvalidParameterValue", "smaller"},
		{"DeleteVolume VolumeId=ROOT", "VolumeInUse", ""},
		{"AttachVolume VolumeId=FOREIGN InstanceId=RUNNING Device=/dev/sdf", "InvalidVolume.ZoneMismatch", ""},
		{"AttachVolume VolumeId=VOLUME InstanceId=RUNNING Device=/dev/xvda", "InvalidParameterValue", "in use"},
		{"AttachVolume VolumeId=ROOT InstanceId=RUNNING Device=/dev/sdf", "VolumeInUse", ""},
		{"DetachVolume VolumeId=VOLUME", "IncorrectState", ""},
		{"DetachVolume VolumeId=ROOT", "OperationNotPermitted", "root"},
		{"ModifyVolume VolumeId=VOLUME Size=5", "InvalidParameterValue", "smaller"},
		{"DeleteSnapshot SnapshotId=SNAPSHOT", "InvalidSnapshot.InUse", ""},
		{"CopySnapshot SourceRegion=mars SourceSnapshotId=SNAPSHOT", "InvalidParameterValue", "region"},
		{"ModifySnapshotAttribute SnapshotId=SNAPSHOT CreateVolumePermission.Add.1.UserId=12", "InvalidParameterValue", ""},
		{"ModifySnapshotAttribute SnapshotId=SNAPSHOT CreateVolumePermission.Add.1.Group=all", "OperationNotPermitted", "block public access"},

		{"CreateImage Name=ab InstanceId=STOPPED", "InvalidAMIName.Malformed", ""},
		{"CreateImage Name=a:b:c InstanceId=STOPPED", "InvalidAMIName.Malformed", ""},
		{"CreateImage Name=mine InstanceId=STOPPED", "InvalidAMIName.Duplicate", "AMI name mine is already in use by AMI"},
		{"CreateImage Name=new InstanceId=STOPPED BlockDeviceMapping.1.DeviceName=/dev/xvda BlockDeviceMapping.1.Ebs.Encrypted=true", "InvalidBlockDeviceMapping", ""},
		{"RegisterImage Name=new", "MissingParameter", "RootDeviceName"},
		{"RegisterImage Name=new RootDeviceName=/dev/sda1", "InvalidBlockDeviceMapping", "does not appear"},
		{"RegisterImage Name=new RootDeviceName=/dev/sda1 BlockDeviceMapping.1.DeviceName=/dev/sda1 BlockDeviceMapping.1.Ebs.SnapshotId=SNAPSHOT BootMode=bios", "InvalidParameterValue", "bootMode"},
		{"CopyImage Name=new SourceImageId=ami-0123456789abcdef0 SourceRegion=us-east-1", "InvalidAMIID.NotFound", ""},
		{"CopyImage Name=new SourceImageId=PENDING SourceRegion=us-east-1", "InvalidAMIID.Unavailable", ""},
		{"DeregisterImage ImageId=IMAGE", "AuthFailure", ""},
		{"ModifyImageAttribute ImageId=MINE LaunchPermission.Add.1.UserId=x", "InvalidAMIAttributeItemValue", ""},
		{"ModifyImageAttribute ImageId=MINE LaunchPermission.Add.1.Group=some", "InvalidAMIAttributeItemValue", ""},
		{"ModifyImageAttribute ImageId=MINE LaunchPermission.Add.1.OrganizationArn=o-1", "InvalidAMIAttributeItemValue", ""},
		{"ModifyImageAttribute ImageId=MINE LaunchPermission.Add.1.Group=all", "OperationNotPermitted", "block public access for AMIs is enabled"},
		{"ModifyImageAttribute ImageId=MINE Description.Value=x LaunchPermission.Add.1.UserId=123456789012", "InvalidParameterCombination", "multiple"},
		{"ModifyImageAttribute ImageId=PENDING Description.Value=x", "InvalidAMIID.Unavailable", ""},
		{"DescribeImageAttribute ImageId=MINE Attribute=blockDeviceMapping", "AuthFailure", ""},
		{"DescribeImageAttribute ImageId=IMAGE Attribute=launchPermission", "AuthFailure", ""},
		{"EnableImageDeprecation ImageId=MINE DeprecateAt=2020-01-01T00:00:00Z", "InvalidParameterValue", "past"},

		{"CreateTags ResourceId.1=i-0123456789abcdef0 Tag.1.Key=x", "InvalidInstanceID.NotFound", ""},
		{"CreateTags ResourceId.1=nonsense Tag.1.Key=x", "InvalidID", ""},
		{"CreateTags ResourceId.1=MINE Tag.1.Key=aws:x", "InvalidParameterValue", "reserved"},
		{"CreateTags ResourceId.1=MINE Tag.1.Key=x Tag.1.Value=" + strings.Repeat("v", 257), "InvalidParameterValue", "256"},
		{"CreateTags ResourceId.1=MINE " + manyTags(51), "TagLimitExceeded", ""},
		{"CreateLaunchTemplate LaunchTemplateName=template LaunchTemplateData.InstanceType=t3.micro", "InvalidLaunchTemplateName.AlreadyExistsException", ""},
		{"CreateLaunchTemplate LaunchTemplateName=t LaunchTemplateData.InstanceType=t3.micro", "InvalidLaunchTemplateName.MalformedException", ""},
		{"DescribeLaunchTemplateVersions LaunchTemplateName=template LaunchTemplateVersion.1=7", "InvalidLaunchTemplateId.VersionNotFound", ""},
	} {
		before := p.save()
		body, code, message := p.raw(p.names.Replace(row.line))
		if code != row.code || !strings.Contains(message, row.says) {
			t.Errorf("%s\n got %s: %s %.200s\nwant %s: ...%s...", row.line, code, message, body, row.code, row.says)
		}
		if p.save() != before {
			t.Errorf("%s changed something", row.line)
		}
	}
}

func manyTags(n int) string {
	var words []string
	for i := range n {
		words = append(words, "Tag."+strconv.Itoa(i+1)+".Key=k"+strconv.Itoa(i))
	}
	return strings.Join(words, " ")
}

// save is the whole state without what every call counts.
func (c *cloud) save() string {
	c.t.Helper()
	data, err := c.control.Save()
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), `"Regions":`)
	return rest
}
