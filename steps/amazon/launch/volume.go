package launch

import (
	"fmt"
	"strconv"

	"bake/templates"
)

// A Volume is one block device of an instance.
type Volume struct {
	Device      string `yaml:"device" bake:"required" doc:"Its device name, like /dev/sdb; root is that of the image."`
	Disk        `doc:"What the volume is like."`
	NoDevice    bool   `yaml:"no_device" doc:"Leave out a device that the image has."`
	VirtualName string `yaml:"virtual_name" pattern:"^ephemeral[0-9]+$" doc:"Instance store volume: ephemeral0, ephemeral1, ..."`
	// Delete is what the image and the instance say of the volume. On a build
	// machine all volumes go with it.
	Delete *bool `yaml:"delete_on_termination" doc:"Delete the volume with its instance; default: true."`
}

// Disk is what an EBS volume is like.
type Disk struct {
	Size       GiB    `yaml:"size" doc:"Size, like 20GiB; a plain number is GiB. Default: that of the snapshot."`
	Type       string `yaml:"type" enum:"gp3|gp2|io2|io1|st1|sc1|standard" doc:"Type of the volume; default: gp3."`
	IOPS       int    `yaml:"iops" min:"1" doc:"I/O operations a second: gp3, io1, io2."`
	Throughput int    `yaml:"throughput" min:"1" doc:"MiB a second: gp3."`
	Encrypted  *bool  `yaml:"encrypted" doc:"Encrypt the volume; default: as its snapshot and the account's setting have it."`
	KMSKey     string `yaml:"kms_key" doc:"KMS key: key id, ARN, alias/NAME or alias ARN."`
	Snapshot   string `yaml:"snapshot" pattern:"^snap-[0-9a-f]+$" doc:"Snapshot it starts from."`
	Rate       int    `yaml:"initialization_rate" min:"100" max:"300" doc:"MiB a second at which the snapshot is loaded; costs extra."`
}

// GiB is the size of a volume. Its text is a size with a unit, or a number of GiB.
type GiB int

// UnmarshalBlock reads 20, "20GiB" or "1TiB".
func (g *GiB) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	if b.Unresolved() {
		return nil
	}
	text, ok := b.Text()
	if n, err := strconv.Atoi(text); ok && err == nil {
		*g = GiB(n)
		return g.check(b)
	}
	size, err := templates.ParseSize(text)
	if !ok || err != nil || size%(1<<30) != 0 {
		d := b.Errorf("want a whole number of GiB, like 20GiB, not %q", text)
		d.Hint = "volumes have sizes of whole GiB"
		return templates.Diagnostics{d}
	}
	*g = GiB(size >> 30)
	return g.check(b)
}

// check refuses what no type takes; 0 means "not given" elsewhere.
func (g *GiB) check(b templates.Block) templates.Diagnostics {
	if *g < 1 {
		return templates.Diagnostics{b.Errorf("a volume has at least 1 GiB, not %d", *g)}
	}
	return nil
}

// JSONSchema says so to editors.
func (*GiB) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{map[string]any{"type": "integer", "minimum": 1}, map[string]any{"type": "string"}}}
}

// A bound is the least and the most of something; the zero bound is "not at all".
type bound struct{ least, most int }

// A limit is what EBS allows of one type of volume (CreateVolume's reference).
type limit struct {
	size, iops, throughput bound
	perGiB                 int  // most IOPS for each GiB; 0: no such limit
	needsIOPS              bool // the API wants them said
}

// gp3 has 3000 IOPS and 125 MiB/s for nothing, whatever its size.
const gp3IOPS, gp3Throughput = 3000, 125

func limitOf(volumeType string) limit {
	switch volumeType {
	case "gp2":
		return limit{size: bound{1, 16384}}
	case "io1":
		return limit{size: bound{4, 16384}, iops: bound{100, 64000}, perGiB: 50, needsIOPS: true}
	case "io2":
		return limit{size: bound{4, 65536}, iops: bound{100, 256000}, perGiB: 1000, needsIOPS: true}
	case "st1", "sc1":
		return limit{size: bound{125, 16384}}
	case "standard":
		return limit{size: bound{1, 1024}}
	}
	return limit{size: bound{1, 65536}, iops: bound{gp3IOPS, 80000}, throughput: bound{gp3Throughput, 2000}, perGiB: 500}
}

// DefaultVolumeType is the type of volumes whose template does not say one.
const DefaultVolumeType = "gp3"

// Check holds the disk against the limits of its type. from is the size of the
// snapshot it starts from, in GiB; 0 if that is not known or there is none.
// Diagnostics stand in b, the disk's block.
func (d Disk) Check(b templates.Block, from int) templates.Diagnostics {
	kind := d.Type
	if kind == "" {
		kind = DefaultVolumeType
	}
	l := limitOf(kind)
	var ds templates.Diagnostics
	ds = append(ds, within(b, "size", kind, int(d.Size), l.size, " GiB")...)
	ds = append(ds, within(b, "iops", kind, d.IOPS, l.iops, " IOPS")...)
	ds = append(ds, within(b, "throughput", kind, d.Throughput, l.throughput, " MiB/s")...)
	size := max(int(d.Size), from)
	switch {
	case d.Size > 0 && int(d.Size) < from:
		ds = append(ds, b.At("size").Errorf("%d GiB are less than the %d GiB of the snapshot", d.Size, from))
	case l.needsIOPS && d.IOPS == 0:
		ds = append(ds, b.At("type").Errorf("type %s needs iops", kind))
	case l.perGiB > 0 && size > 0 && d.IOPS > max(l.perGiB*size, l.iops.least):
		ds = append(ds, b.At("iops").Errorf("%d IOPS are more than %d for each of the %d GiB, the most of type %s", d.IOPS, l.perGiB, size, kind))
	}
	if iops := max(d.IOPS, gp3IOPS); d.Throughput > 0 && l.throughput.most > 0 && d.Throughput*4 > iops {
		ds = append(ds, b.At("throughput").Errorf("%d MiB/s need at least %d iops, 4 for each MiB/s", d.Throughput, d.Throughput*4))
	}
	if d.KMSKey != "" && d.Encrypted != nil && !*d.Encrypted {
		ds = append(ds, b.At("kms_key").Errorf("kms_key and encrypted: false exclude each other"))
	}
	return ds
}

func within(b templates.Block, key, kind string, value int, l bound, unit string) templates.Diagnostics {
	switch {
	case value == 0:
		return nil
	case l.most == 0:
		return templates.Diagnostics{b.Key(key).Errorf("volumes of type %s have no %s of their own", kind, key)}
	case value < l.least || value > l.most:
		return templates.Diagnostics{b.At(key).Errorf("a volume of type %s has %d to %d%s, not %d", kind, l.least, l.most, unit, value)}
	}
	return nil
}

// checkDevices checks a list of volumes, each alone and all together.
func checkDevices(b templates.Block, volumes []Volume) templates.Diagnostics {
	var ds templates.Diagnostics
	seen := map[string]bool{}
	for i, v := range volumes {
		at := b.At(fmt.Sprint(i))
		if v.Device != "" && seen[v.Device] {
			ds = append(ds, at.At("device").Errorf("device %s is here twice", v.Device))
		}
		seen[v.Device] = true
		if at.Unresolved() {
			continue
		}
		ds = append(ds, v.check(at)...)
	}
	return ds
}

func (v Volume) check(b templates.Block) templates.Diagnostics {
	ebs := v.Disk != Disk{} || v.Delete != nil
	switch {
	case v.NoDevice && (ebs || v.VirtualName != ""):
		return templates.Diagnostics{b.Key("no_device").Errorf("no_device leaves the device out: it has no other properties")}
	case v.VirtualName != "" && ebs:
		return templates.Diagnostics{b.Key("virtual_name").Errorf("%s is an instance store volume: it has no other properties", v.VirtualName)}
	case v.NoDevice || v.VirtualName != "":
		return nil
	}
	return v.Disk.Check(b, 0)
}

// Root stands for the image's root device.
const Root = "root"
