package launch

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bake/templates"
)

// decode reads a machine block; diagnostics are its error.
func decode(t *testing.T, text string) (Machine, error) {
	t.Helper()
	b, diags := templates.ReadBlock("machine.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var m Machine
	return m, templates.Decode(b, &m).Err()
}

func TestVolumesAreHeldAgainstTheLimitsOfTheirType(t *testing.T) {
	for _, c := range []struct{ volume, want string }{
		{"size: 1", ""}, {"size: 65536", ""}, {"size: 65537", "1 to 65536 GiB"}, {"size: 0", "at least 1 GiB"}, {"size: -1", "at least 1 GiB"},
		{"size: 16384, type: gp2", ""}, {"size: 16385, type: gp2", "1 to 16384 GiB"},
		{"size: 124, type: st1", "125 to 16384"}, {"size: 125, type: sc1", ""},
		{"size: 1025, type: standard", "1 to 1024"},
		{"size: 3, type: io1, iops: 100", "4 to 16384"}, {"size: 4, type: io1, iops: 200", ""}, {"size: 4, type: io1, iops: 201", "more than 50 for each"},
		{"size: 100, type: io1, iops: 64001", "100 to 64000"}, {"size: 4, type: io1, iops: 99", "100 to 64000"}, {"size: 4, type: io1", "needs iops"},
		{"size: 256, type: io2, iops: 256000", ""}, {"size: 100, type: io2, iops: 256001", "100 to 256000"}, {"size: 4, type: io2, iops: 4001", "more than 1000 for each"},
		{"size: 10, iops: 2999", "3000 to 80000"}, {"size: 6, iops: 3000", ""}, {"size: 10, iops: 5001", "more than 500 for each"}, {"size: 5, iops: 3000", ""},
		{"size: 200, throughput: 124", "125 to 2000"}, {"size: 200, iops: 8000, throughput: 2000", ""}, {"size: 200, iops: 4000, throughput: 1001", "need at least 4004 iops"},
		{"size: 20, type: gp2, iops: 3000", "no iops of their own"}, {"size: 20, type: io1, iops: 100, throughput: 200", "no throughput of their own"},
		{"size: 20, kms_key: k, encrypted: false", "exclude each other"},
		{"size: 20GiB", ""}, {"size: 1TiB", ""}, {"size: 500MB", "whole number of GiB"},
		{"no_device: true, size: 4", "no other properties"}, {"virtual_name: ephemeral0, encrypted: true", "no other properties"}, {"virtual_name: disk1", "must match"},
		{"size: 20, type: gp4", `did you mean "gp`},
		{"snapshot: vol-1", "must match"}, {"initialization_rate: 99", "at least 100"},
	} {
		t.Run(c.volume, func(t *testing.T) {
			_, err := decode(t, "volumes: [{device: /dev/sdb, "+c.volume+"}]")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(hints(err), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// hints is the text of diagnostics with their hints.
func hints(err error) string {
	text := err.Error()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if d, ok := e.(*templates.Diagnostic); ok {
				text += "\n" + d.Hint
			}
		}
	}
	return text
}

var debianLike = types.Image{RootDeviceName: aws.String("/dev/xvda"), BlockDeviceMappings: []types.BlockDeviceMapping{
	{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-1"), VolumeSize: aws.Int32(8), VolumeType: "gp2", DeleteOnTermination: aws.Bool(true)}},
	{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-2"), VolumeSize: aws.Int32(100), VolumeType: "st1", Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(false)}},
	{DeviceName: aws.String("/dev/sdc"), VirtualName: aws.String("ephemeral0")},
}}

func mapping(device string, e types.EbsBlockDevice) types.BlockDeviceMapping {
	return types.BlockDeviceMapping{DeviceName: aws.String(device), Ebs: &e}
}

func TestDevicesOfABuildMachineGoWithIt(t *testing.T) {
	yes := aws.Bool(true)
	for _, c := range []struct {
		name, volumes string
		encryption    Encryption
		want          []types.BlockDeviceMapping
	}{
		{"a volume of the image that would outlive the machine", "[]", Encryption{}, []types.BlockDeviceMapping{mapping("/dev/sdb", types.EbsBlockDevice{DeleteOnTermination: yes})}},
		{"what the template keeps in the image goes with the build machine all the same", "[{device: /dev/sdb, size: 200, delete_on_termination: false}]", Encryption{},
			[]types.BlockDeviceMapping{mapping("/dev/sdb", types.EbsBlockDevice{VolumeSize: aws.Int32(200), VolumeType: "st1", DeleteOnTermination: yes})}},
		{"root by its name", "[{device: root, size: 20}, {device: /dev/sdb, no_device: true}]", Encryption{}, []types.BlockDeviceMapping{
			mapping("/dev/xvda", types.EbsBlockDevice{VolumeSize: aws.Int32(20), VolumeType: "gp2", DeleteOnTermination: yes}),
			{DeviceName: aws.String("/dev/sdb"), NoDevice: aws.String("")}}},
		{"everything encrypted at launch, so that no second copy is needed", "[{device: /dev/sdb, no_device: true}, {device: /dev/sdd, size: 5}]", Encryption{Encrypt: yes, KMSKey: "alias/k"}, []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sdb"), NoDevice: aws.String("")},
			mapping("/dev/sdd", types.EbsBlockDevice{VolumeSize: aws.Int32(5), VolumeType: "gp3", Encrypted: yes, KmsKeyId: aws.String("alias/k"), DeleteOnTermination: yes}),
			mapping("/dev/xvda", types.EbsBlockDevice{Encrypted: yes, KmsKeyId: aws.String("alias/k"), DeleteOnTermination: yes})}},
		{"all that a template says of a volume", "[{device: /dev/sdb, no_device: true}, {device: /dev/sdd, snapshot: snap-01, type: io1, iops: 500, size: 40}, {device: /dev/sde, size: 300, throughput: 250, initialization_rate: 200}, {device: /dev/sdf, virtual_name: ephemeral0}]",
			Encryption{}, []types.BlockDeviceMapping{
				{DeviceName: aws.String("/dev/sdb"), NoDevice: aws.String("")},
				mapping("/dev/sdd", types.EbsBlockDevice{SnapshotId: aws.String("snap-01"), VolumeSize: aws.Int32(40), VolumeType: "io1", Iops: aws.Int32(500), DeleteOnTermination: yes}),
				mapping("/dev/sde", types.EbsBlockDevice{VolumeSize: aws.Int32(300), VolumeType: "gp3", Throughput: aws.Int32(250), VolumeInitializationRate: aws.Int32(200), DeleteOnTermination: yes}),
				{DeviceName: aws.String("/dev/sdf"), VirtualName: aws.String("ephemeral0")}}},
		{"a key means encrypted", "[{device: /dev/sdb, no_device: true}, {device: root, kms_key: alias/k}]", Encryption{}, []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sdb"), NoDevice: aws.String("")},
			mapping("/dev/xvda", types.EbsBlockDevice{VolumeType: "gp2", Encrypted: yes, KmsKeyId: aws.String("alias/k"), DeleteOnTermination: yes})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := decode(t, "volumes: "+c.volumes)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Devices(debianLike, m.Volumes, c.encryption)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(types.BlockDeviceMapping{}, types.EbsBlockDevice{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDevicesThatDoNotFitTheImage(t *testing.T) {
	for volumes, want := range map[string]string{
		"[{device: root, size: 7}]":                               "less than the 8 GiB",
		"[{device: /dev/sdz, encrypted: true}]":                   "needs a size or a snapshot",
		"[{device: /dev/sdb, encrypted: false}]":                  "cannot become unencrypted",
		"[{device: root, size: 9}, {device: /dev/xvda, size: 9}]": "here twice",
	} {
		m, err := decode(t, "volumes: "+volumes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Devices(debianLike, m.Volumes, Encryption{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", volumes, err, want)
		}
	}
}
