package inside

import (
	"fmt"
	"syscall"

	"bake/internal/rootfs/sys"
)

// capabilities are what root has inside: Docker's default set. It is enough to
// install packages, change owners, set file capabilities and make devices, and
// not enough to mount, to load modules or to trace this process. New
// privileges are not ruled out, so sudo and other setuid programs work.
var capabilities = [...]uint{
	0,  // chown
	1,  // dac_override
	3,  // fowner
	4,  // fsetid
	5,  // kill
	6,  // setgid
	7,  // setuid
	8,  // setpcap
	10, // net_bind_service
	13, // net_raw
	18, // sys_chroot
	27, // mknod
	29, // audit_write
	31, // setfcap
}

// lastCap is more than any kernel has; the first unknown one ends the loop.
const lastCap = 63

// limit takes all capabilities but these and extra from all programs that the
// calling thread will start. It keeps them itself: a process with fewer may neither trace it
// nor read its descriptors in /proc.
func limit(extra []uint) error {
	var keep uint64
	for _, c := range capabilities {
		keep |= 1 << c
	}
	for _, c := range extra {
		keep |= 1 << c
	}
	for c := range uint(lastCap + 1) {
		if keep>>c&1 == 1 {
			continue
		}
		err := sys.Prctl(sys.PrCapbsetDrop, uintptr(c))
		if err == syscall.EINVAL {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return nil
}
