// Package ec2 is the control plane of Amazon EC2 in the sandbox: instances,
// volumes, snapshots, images, key pairs, security groups, launch templates and
// what they need, per account and region, over the query protocol of version
// 2016-11-15, with AWS's checks and AWS's error codes.
//
// # What is real and what is not
//
// An instance is a machine of Options.Machines: a root filesystem with an SSH
// server. Its private address is one of its subnet, the one asked for if one
// is, by which the machines of its VPC reach it, as far as the groups' rules let
// them; they know its private name too. Its public address is 127.x.y.z, which is
// how this machine reaches it; inside a machine such an address is its own.
//
// An Elastic IP address is another of 127.x.y.z, at which the instance that it is
// associated with is reached instead.
//
// This machine alone reaches an instance at its private address too, as if a VPN
// led to the VPC: where bake runs as root it lends itself the address, on the
// loopback interface, for as long as the instance runs, unless it lies in a
// network of this machine's own. Without root an instance that has no public
// address is reached as it is on AWS without a VPN: through another instance, or
// through Session Manager.
//
// IPv6 addresses are lent in the same way, where this machine's kernel has IPv6;
// its log tells where not. They are of 2001:db8::/32, which is nobody's in the
// world. An instance has those that its first interface had when it started.
//
// Security groups are obeyed: a connection to a machine is let in if a rule of
// its groups lets it in. The rest of the network (route tables, gateways) is
// shown, not enforced; all egress is open.
//
// A root volume is the machine's disk. Further volumes appear in the machine as
// they do on AWS: /dev/nvme1n1 on Nitro, /dev/xvdf before, with links of the name
// that they are attached by. mkfs, mount, umount, blkid, lsblk and /etc/fstab
// work with them, at boot too, and what is written is in snapshots and images,
// also of a volume that is mounted. One that is mounted stays attached, and is
// busy, until it is unmounted or detached by force. There is no block device
// behind the name: dd and parted do not work, and a file system has no size.
// Without root the names are there and nothing can be mounted.
//
// Without Options.Machines there are only states.
//
// Machines of the sandbox start where others' do: from images of Amazon and
// Debian, whose names are real and whose content is bake's built-in base, in
// which everybody is root. A root filesystem of the user's, a tar or a folder,
// becomes an image by RegisterImage with its path as ImageLocation, or a public
// one in every region by POST /_sandbox/ec2/images.
//
// There are no interfaces that stand alone, and no fleets but instant ones; a spot
// request that is not fulfilled at once stays open, and prices do not change; a capacity reservation is kept and counted, and
// makes no room. Actions that are not here answer InvalidAction.
package ec2
