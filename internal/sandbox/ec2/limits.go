package ec2

import "bake/internal/sandbox/api"

// A volumeType is what AWS lets volumes of a type be.
type volumeType struct {
	name                      string
	minSize, maxSize          int // GiB
	minIOPS, maxIOPS, perGiB  int // that can be asked for; 0: none can
	baseIOPS                  int
	minThroughput, maxThrough int // MiB/s
	root                      bool
}

func volumeTypeNamed(name string) (volumeType, bool) {
	for _, t := range []volumeType{
		{"gp2", 1, 16384, 0, 0, 0, 0, 0, 0, true},
		{"gp3", 1, 65536, 3000, 80000, 500, 3000, 125, 2000, true},
		{"io1", 4, 16384, 100, 64000, 50, 0, 0, 0, true},
		{"io2", 4, 65536, 100, 256000, 1000, 0, 0, 0, true},
		{"st1", 125, 16384, 0, 0, 0, 0, 0, 0, false},
		{"sc1", 125, 16384, 0, 0, 0, 0, 0, 0, false},
		{"standard", 1, 1024, 0, 0, 0, 0, 0, 0, true},
	} {
		if t.name == name {
			return t, true
		}
	}
	return volumeType{}, false
}

// A geometry is what a volume shall be, before and after defaults.
type geometry struct {
	Type       string
	Size       int
	IOPS       *int
	Throughput *int
}

// complete checks the geometry against the limits of its type and fills in the defaults.
func (g geometry) complete() (geometry, error) {
	if g.Type == "" {
		g.Type = "gp2"
	}
	t, ok := volumeTypeNamed(g.Type)
	if !ok {
		return g, api.Errorf("InvalidParameterValue", "Value (%s) for parameter volumeType is invalid.", g.Type)
	}
	switch {
	case g.Size < t.minSize:
		return g, api.Errorf("InvalidParameterValue", "Volume of %dGiB is too small for volume type %s; minimum is %dGiB", g.Size, t.name, t.minSize)
	case g.Size > t.maxSize:
		return g, api.Errorf("InvalidParameterValue", "Volume of %dGiB is too large for volume type %s; maximum is %dGiB", g.Size, t.name, t.maxSize)
	}
	if err := t.checkIOPS(&g); err != nil {
		return g, err
	}
	return g, t.checkThroughput(&g)
}

func (t volumeType) checkIOPS(g *geometry) error {
	switch {
	case t.maxIOPS == 0 && g.IOPS != nil:
		return api.Errorf("InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", t.name)
	case t.name == "gp2":
		g.IOPS = ref(min(max(3*g.Size, 100), 16000))
		return nil
	case t.maxIOPS == 0:
		return nil
	case g.IOPS == nil && t.baseIOPS == 0:
		return api.Errorf("MissingParameter", "The request must contain the parameter iops for volumes of type %s", t.name)
	case g.IOPS == nil:
		g.IOPS = ref(t.baseIOPS)
		return nil
	case *g.IOPS < t.minIOPS:
		return api.Errorf("InvalidParameterValue", "Volume iops of %d is too low; minimum is %d.", *g.IOPS, t.minIOPS)
	case *g.IOPS > t.maxIOPS:
		return api.Errorf("InvalidParameterValue", "Volume iops of %d is too high; maximum is %d.", *g.IOPS, t.maxIOPS)
	case *g.IOPS > t.perGiB*g.Size && *g.IOPS > t.baseIOPS:
		return api.Errorf("InvalidParameterValue", "Iops to volume size ratio of %.3f is too high; maximum is %d", float64(*g.IOPS)/float64(g.Size), t.perGiB)
	}
	return nil
}

func (t volumeType) checkThroughput(g *geometry) error {
	switch {
	case t.maxThrough == 0 && g.Throughput != nil:
		return api.Errorf("InvalidParameterCombination", "The parameter throughput is not supported for %s volumes.", t.name)
	case t.maxThrough == 0:
		return nil
	case g.Throughput == nil:
		g.Throughput = ref(t.minThroughput)
		return nil
	case *g.Throughput < t.minThroughput:
		return api.Errorf("InvalidParameterValue", "Volume throughput of %d is too low; minimum is %d.", *g.Throughput, t.minThroughput)
	case *g.Throughput > t.maxThrough:
		return api.Errorf("InvalidParameterValue", "Volume throughput of %d is too high; maximum is %d.", *g.Throughput, t.maxThrough)
	case 4**g.Throughput > *g.IOPS:
		return api.Errorf("InvalidParameterValue", "Throughput (MiBps) to iops ratio of %.6f is too high; maximum is 0.250000 MiBps per iops.", float64(*g.Throughput)/float64(*g.IOPS))
	}
	return nil
}
