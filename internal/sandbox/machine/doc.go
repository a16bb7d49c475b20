// Package machine runs the instances of bake's local AWS: root filesystems with
// a real SSH server, that boot, stop, reboot and power off like a machine with
// cloud-init does.
//
// A Host is a folder of disks and the machines that run on them. Disks are
// stacks of layers: a base is imported once and shared, what a machine writes
// goes to its disk's upper layer, and a snapshot freezes that layer. Layers are
// removed with the last disk or snapshot that names them.
//
// A disk that is not a root's is attached to a machine as a volume: its first
// program gives it a name below /dev and does what mkfs and mount are asked for,
// which is to note the kind of file system and to mount the disk's layers.
//
// A Machine is a container of package rootfs whose first program is package
// guest. When the process that holds the Host dies, however it dies, machines
// die with it; their disks are whole, and another Host on the same folder can
// start them again.
package machine
