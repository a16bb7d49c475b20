package ec2

import "bake/internal/sandbox/api"

type fastLaunchIn struct {
	dry
	Image    string `q:"ImageId,required"`
	Force    bool   `q:"Force"`
	Resource string `q:"ResourceType"`
	Parallel *int   `q:"MaxParallelLaunches"`
	Snapshot *struct {
		Count *int `q:"TargetResourceCount"`
	} `q:"SnapshotConfiguration"`
	Template *templateID `q:"LaunchTemplate"`
}

// enableFastLaunch is for Windows images alone, and there are none here.
func (o *op) enableFastLaunch(in *fastLaunchIn) (*returned, error) {
	if _, err := o.ownImage(in.Image); err != nil {
		return nil, err
	}
	return nil, api.Errorf("InvalidParameterValue", "The image %s is not a Windows image: fast launching is for those alone", in.Image)
}

func (o *op) disableFastLaunch(in *fastLaunchIn) (*returned, error) {
	if _, err := o.ownImage(in.Image); err != nil {
		return nil, err
	}
	return nil, api.Errorf("InvalidParameterValue", "Fast launching is not enabled for the image %s", in.Image)
}

type fastLaunchOut struct {
	Images set[imageID] `xml:"fastLaunchImageSet>item"`
}

func (o *op) describeFastLaunch(*struct {
	dry
	page
	Images  []string `q:"ImageId"`
	Filters []filter `q:"Filter"`
}) (*fastLaunchOut, error) {
	return &fastLaunchOut{}, nil
}
