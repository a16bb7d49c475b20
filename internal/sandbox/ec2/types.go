package ec2

import (
	"slices"
	"strings"
	"sync"
)

// A machineType is an instance type.
type machineType struct {
	meta
	family     string
	arch       string // "x86_64", "arm64"
	cpus       int
	memory     int // MiB
	threads    int // per core
	nitro      bool
	burstable  bool
	baseline   int // Mbit/s to EBS
	peak       int // Mbit/s to EBS
	network    string
	interfaces int
	maker      string
	clock      float64
	bareMetal  bool
	free       bool
}

// A size is what a family's size has.
type size struct {
	name       string
	cpus       int
	memory     int // MiB
	baseline   int // Mbit/s to EBS
	peak       int // Mbit/s to EBS
	network    string
	interfaces int
}

// typeTable is the part of AWS's table that the sandbox has: general, compute and memory machines
// of today and of some years ago. Nothing changes it.
var typeTable = sync.OnceValue(makeTypes)

func makeTypes() map[string]*machineType {
	burst := []size{{"nano", 2, 512, 43, 2085, "Up to 5 Gigabit", 2}, {"micro", 2, 1024, 87, 2085, "Up to 5 Gigabit", 2},
		{"small", 2, 2048, 174, 2085, "Up to 5 Gigabit", 3}, {"medium", 2, 4096, 347, 2085, "Up to 5 Gigabit", 3},
		{"large", 2, 8192, 695, 2780, "Up to 5 Gigabit", 3}, {"xlarge", 4, 16384, 695, 2780, "Up to 5 Gigabit", 4},
		{"2xlarge", 8, 32768, 695, 2780, "Up to 5 Gigabit", 4}}
	all := map[string]*machineType{}
	add := func(t machineType, sizes []size) {
		for _, s := range sizes {
			t := t
			t.ID = t.family + "." + s.name
			t.cpus, t.memory, t.baseline, t.peak, t.network, t.interfaces = s.cpus, s.memory, s.baseline, s.peak, s.network, s.interfaces
			t.bareMetal = s.name == "metal"
			t.Seq = int64(len(all))
			all[t.ID] = &t
		}
	}
	add(machineType{family: "t3", arch: "x86_64", threads: 2, nitro: true, burstable: true, maker: "Intel", clock: 2.5}, burst)
	add(machineType{family: "t3a", arch: "x86_64", threads: 2, nitro: true, burstable: true, maker: "AMD", clock: 2.2}, burst)
	add(machineType{family: "t4g", arch: "arm64", threads: 1, nitro: true, burstable: true, maker: "AWS", clock: 2.5}, burst)
	add(machineType{family: "t2", arch: "x86_64", threads: 1, burstable: true, maker: "Intel", clock: 2.4}, []size{
		{"nano", 1, 512, 0, 0, "Low to Moderate", 2}, {"micro", 1, 1024, 0, 0, "Low to Moderate", 2}, {"small", 1, 2048, 0, 0, "Low to Moderate", 3},
		{"medium", 2, 4096, 0, 0, "Low to Moderate", 3}, {"large", 2, 8192, 0, 0, "Low to Moderate", 3}})
	add(machineType{family: "m4", arch: "x86_64", threads: 2, maker: "Intel", clock: 2.4}, ladder(4096, 450))
	for _, f := range []machineType{
		{family: "m5", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.1}, {family: "m6i", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.5},
		{family: "m6a", arch: "x86_64", threads: 2, maker: "AMD", clock: 3.6}, {family: "m7i", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.2},
		{family: "m6g", arch: "arm64", threads: 1, maker: "AWS", clock: 2.5}, {family: "m7g", arch: "arm64", threads: 1, maker: "AWS", clock: 2.6},
	} {
		f.nitro = true
		add(f, ladder(4096, 650))
	}
	for _, f := range []machineType{
		{family: "c5", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.4}, {family: "c6i", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.5},
		{family: "c7i", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.2}, {family: "c6g", arch: "arm64", threads: 1, maker: "AWS", clock: 2.5},
		{family: "c7g", arch: "arm64", threads: 1, maker: "AWS", clock: 2.6},
	} {
		f.nitro = true
		add(f, ladder(2048, 650))
	}
	for _, f := range []machineType{
		{family: "r5", arch: "x86_64", threads: 2, maker: "Intel", clock: 3.1}, {family: "r6g", arch: "arm64", threads: 1, maker: "AWS", clock: 2.5},
	} {
		f.nitro = true
		add(f, ladder(8192, 650))
	}
	add(machineType{family: "c5", arch: "x86_64", threads: 2, nitro: true, maker: "Intel", clock: 3.6}, []size{{"metal", 96, 196608, 19000, 19000, "25 Gigabit", 15}})
	for _, name := range []string{"t3.micro", "t2.micro", "t4g.small", "t3.small"} {
		all[name].free = true
	}
	return all
}

// ladder is the sizes of a family from large on; memory is MiB for each CPU.
func ladder(memory, ebs int) []size {
	var all []size
	for i, name := range []string{"large", "xlarge", "2xlarge", "4xlarge", "8xlarge"} {
		cpus := 2 << i
		network, interfaces := "Up to 10 Gigabit", 4
		if i == 0 {
			interfaces = 3
		}
		if i == 4 {
			network, interfaces = "10 Gigabit", 8
		}
		all = append(all, size{name, cpus, cpus * memory, ebs << i, max(4750, ebs<<i), network, interfaces})
	}
	return all
}

// bootModes are those the type can boot images with.
func (t *machineType) bootModes() []string {
	switch {
	case t.arch == "arm64":
		return []string{"uefi"}
	case t.nitro && !t.bareMetal:
		return []string{"legacy-bios", "uefi"}
	}
	return []string{"legacy-bios"}
}

// ena is how the type takes the network adapter of Nitro.
func (t *machineType) ena() string {
	if t.nitro {
		return "required"
	}
	return "unsupported"
}

func (t *machineType) hypervisor() string {
	if t.nitro {
		return "nitro"
	}
	return "xen"
}

// enclaves: x86 with four CPUs, arm with two, and not the burstable ones.
func (t *machineType) enclaves() bool {
	least := 4
	if t.arch == "arm64" {
		least = 2
	}
	return t.nitro && !t.burstable && !t.bareMetal && t.cpus >= least
}

// tpm: Nitro, and the newest machines of it.
func (t *machineType) tpm() bool {
	return t.nitro && !t.bareMetal && !slices.Contains([]string{"m6g", "c6g", "r6g", "t4g"}, t.family)
}

// quota is the name of the vCPU limit that counts the type.
func (t *machineType) quota() string {
	if strings.ContainsAny(t.family[:1], "acdhimrtz") {
		return "standard"
	}
	return t.family[:1]
}

// offered reports whether a zone has the type: the newest do not come to every zone at once.
func offered(t *machineType, z zone) bool {
	return !(strings.HasSuffix(z.name, "c") && slices.Contains([]string{"m7i", "c7i", "c5"}, t.family))
}
