package ec2

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// A launchTemplate is a name for versions of a launch.
type launchTemplate struct {
	meta
	Name            string
	CreatedBy       string
	Default, Latest int
	Versions        []*templateVersion
}

// A templateVersion is one version of a launch template; it never changes.
type templateVersion struct {
	Number      int
	Description string
	CreatedBy   string
	Created     time.Time
	Data        launchSpec
}

type templateID struct {
	ID      string `q:"LaunchTemplateId" xml:"launchTemplateId,omitempty"`
	Name    string `q:"LaunchTemplateName" xml:"launchTemplateName,omitempty"`
	Version string `q:"Version" xml:"version,omitempty"`
}

type templateXML struct {
	ID        string   `xml:"launchTemplateId"`
	Name      string   `xml:"launchTemplateName"`
	Created   string   `xml:"createTime"`
	CreatedBy string   `xml:"createdBy"`
	Default   int      `xml:"defaultVersionNumber"`
	Latest    int      `xml:"latestVersionNumber"`
	Tags      set[tag] `xml:"tagSet>item"`
}

type versionXML struct {
	ID          string     `xml:"launchTemplateId"`
	Name        string     `xml:"launchTemplateName"`
	Number      int        `xml:"versionNumber"`
	Description string     `xml:"versionDescription,omitempty"`
	Created     string     `xml:"createTime"`
	CreatedBy   string     `xml:"createdBy"`
	Default     bool       `xml:"defaultVersion"`
	Data        launchSpec `xml:"launchTemplateData"`
}

func (t *launchTemplate) view() templateXML {
	return templateXML{t.ID, t.Name, stamp(t.Created), t.CreatedBy, t.Default, t.Latest, t.Tags}
}

func (t *launchTemplate) versionView(v *templateVersion) versionXML {
	return versionXML{t.ID, t.Name, v.Number, v.Description, stamp(v.Created), v.CreatedBy, v.Number == t.Default, v.Data}
}

// template finds a launch template by id or by name.
func (o *op) template(id, name string) (*launchTemplate, error) {
	switch {
	case id != "" && name != "":
		return nil, api.Errorf("InvalidParameterCombination", "The parameters LaunchTemplateId and LaunchTemplateName cannot be used together: specify either")
	case id != "":
		return find(o, kindTemplate, o.r.Templates, id)
	case name == "":
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter LaunchTemplateId or LaunchTemplateName")
	}
	for _, t := range o.r.Templates {
		if t.Owner == o.call.Account && t.Name == name && !o.call.Hidden(t.ID) {
			return t, nil
		}
	}
	return nil, api.Errorf("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

// version finds a version by number, $Default or $Latest ("" is the default).
func (t *launchTemplate) version(number string) (*templateVersion, error) {
	want := 0
	switch number {
	case "", "$Default":
		want = t.Default
	case "$Latest":
		want = t.Latest
	default:
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, api.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Launch template version %s is malformed", number)
		}
		want = n
	}
	for _, v := range t.Versions {
		if v.Number == want {
			return v, nil
		}
	}
	return nil, api.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", number, t.ID)
}

func (o *op) templateVersion(id templateID) (*templateVersion, error) {
	t, err := o.template(id.ID, id.Name)
	if err != nil {
		return nil, err
	}
	return t.version(id.Version)
}

// templateData is a launchSpec as launch templates take it.
type templateData struct {
	launchSpec
	RAMDisk string `q:"RamDiskId"` // which RunInstances writes in another way
}

func (d templateData) spec() launchSpec {
	s := d.launchSpec
	s.RamdiskID = cmp.Or(d.RAMDisk, s.RamdiskID)
	return s
}

// check refuses what AWS checks when a template is made; the rest is checked at launch.
func (o *op) checkTemplate(s launchSpec) error {
	if s.ImageID != "" {
		if err := kindImage.check(s.ImageID); err != nil && !regexp.MustCompile(`^resolve:ssm:`).MatchString(s.ImageID) {
			return err
		}
	}
	if err := checkDeviceList(s.Devices); err != nil {
		return err
	}
	_, err := tagsFor(s.TagSpecs, "instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu")
	return err
}

type createTemplateIn struct {
	dry
	ClientToken string       `q:"ClientToken"`
	Name        string       `q:"LaunchTemplateName,required"`
	Description string       `q:"VersionDescription"`
	Data        templateData `q:"LaunchTemplateData,required"`
	Tags        []tagSpec    `q:"TagSpecification"`
}

type createTemplateOut struct {
	Template templateXML `xml:"launchTemplate"`
}

var templateName = lazyregexp.New(`^[a-zA-Z0-9().\-/_]{3,125}$`)

func (o *op) createTemplate(in *createTemplateIn) (*createTemplateOut, error) {
	use, err := o.token("CreateLaunchTemplate", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 && o.r.Templates[use.IDs[0]] != nil {
		return &createTemplateOut{o.r.Templates[use.IDs[0]].view()}, nil
	}
	tags, err := tagsFor(in.Tags, kindTemplate.name)
	if err != nil {
		return nil, err
	}
	if !templateName.MatchString(in.Name) {
		return nil, api.Errorf("InvalidLaunchTemplateName.MalformedException", "A launch template name must be between 3 and 125 characters, and may contain letters, numbers, and the following characters: - ( ) . / _.")
	}
	for _, t := range o.r.Templates {
		if t.Owner == o.call.Account && t.Name == in.Name {
			return nil, api.Errorf("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
	}
	if err := o.checkTemplate(in.Data.spec()); err != nil {
		return nil, err
	}
	t := &launchTemplate{meta: o.make(kindTemplate, tags[kindTemplate.name]), Name: in.Name, CreatedBy: o.call.Caller, Default: 1, Latest: 1}
	t.Versions = []*templateVersion{{1, in.Description, o.call.Caller, o.now, in.Data.spec()}}
	o.r.Templates[t.ID] = t
	if use != nil {
		use.IDs = []string{t.ID}
	}
	return &createTemplateOut{t.view()}, nil
}

type createVersionIn struct {
	dry
	ClientToken  string       `q:"ClientToken"`
	ID           string       `q:"LaunchTemplateId"`
	Name         string       `q:"LaunchTemplateName"`
	Source       string       `q:"SourceVersion"`
	Description  string       `q:"VersionDescription"`
	Data         templateData `q:"LaunchTemplateData,required"`
	ResolveAlias bool         `q:"ResolveAlias"`
}

type createVersionOut struct {
	Version versionXML `xml:"launchTemplateVersion"`
}

func (o *op) createVersion(in *createVersionIn) (*createVersionOut, error) {
	t, err := o.template(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	use, err := o.token("CreateLaunchTemplateVersion", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 {
		v, err := t.version(use.IDs[0])
		if err != nil {
			return nil, err
		}
		return &createVersionOut{t.versionView(v)}, nil
	}
	data := in.Data.spec()
	if in.Source != "" {
		source, err := t.version(in.Source)
		if err != nil {
			return nil, err
		}
		data = data.over(source.Data)
	}
	if err := o.checkTemplate(data); err != nil {
		return nil, err
	}
	t.Latest++
	v := &templateVersion{t.Latest, in.Description, o.call.Caller, o.now, data}
	t.Versions = append(t.Versions, v)
	if use != nil {
		use.IDs = []string{strconv.Itoa(v.Number)}
	}
	return &createVersionOut{t.versionView(v)}, nil
}

type modifyTemplateIn struct {
	dry
	ClientToken string `q:"ClientToken"`
	ID          string `q:"LaunchTemplateId"`
	Name        string `q:"LaunchTemplateName"`
	Default     string `q:"SetDefaultVersion"`
}

func (o *op) modifyTemplate(in *modifyTemplateIn) (*createTemplateOut, error) {
	t, err := o.template(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	v, err := t.version(in.Default)
	if err != nil {
		return nil, err
	}
	t.Default = v.Number
	return &createTemplateOut{t.view()}, nil
}

type templateIn struct {
	dry
	ID   string `q:"LaunchTemplateId"`
	Name string `q:"LaunchTemplateName"`
}

func (o *op) deleteTemplate(in *templateIn) (*createTemplateOut, error) {
	t, err := o.template(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	delete(o.r.Templates, t.ID)
	return &createTemplateOut{t.view()}, nil
}

type deleteVersionsIn struct {
	dry
	ID       string   `q:"LaunchTemplateId"`
	Name     string   `q:"LaunchTemplateName"`
	Versions []string `q:"LaunchTemplateVersion,required"`
}

type deletedVersion struct {
	ID     string       `xml:"launchTemplateId"`
	Name   string       `xml:"launchTemplateName"`
	Number int          `xml:"versionNumber"`
	Error  *stateReason `xml:"responseError,omitempty"`
}

type deleteVersionsOut struct {
	Deleted set[deletedVersion] `xml:"successfullyDeletedLaunchTemplateVersionSet>item"`
	Kept    set[deletedVersion] `xml:"unsuccessfullyDeletedLaunchTemplateVersionSet>item"`
}

func (o *op) deleteVersions(in *deleteVersionsIn) (*deleteVersionsOut, error) {
	t, err := o.template(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	out := &deleteVersionsOut{}
	for _, text := range in.Versions {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, api.Errorf("InvalidParameterValue", "Launch template version %s is malformed", text)
		}
		d := deletedVersion{ID: t.ID, Name: t.Name, Number: n}
		i := slices.IndexFunc(t.Versions, func(v *templateVersion) bool { return v.Number == n })
		switch {
		case i < 0:
			d.Error = &stateReason{"launchTemplateVersionDoesNotExist", fmt.Sprintf("Could not find the specified version %d", n)}
		case n == t.Default:
			d.Error = &stateReason{"unexpectedError", "The default version can not be deleted"}
		default:
			t.Versions = slices.Delete(t.Versions, i, i+1)
			out.Deleted = append(out.Deleted, d)
			continue
		}
		out.Kept = append(out.Kept, d)
	}
	return out, nil
}

type describeTemplatesIn struct {
	dry
	page
	IDs     []string `q:"LaunchTemplateId"`
	Names   []string `q:"LaunchTemplateName"`
	Filters []filter `q:"Filter"`
	Managed bool     `q:"IncludeManagedResources"`
}

type describeTemplatesOut struct {
	Templates set[templateXML] `xml:"launchTemplates>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

func (o *op) describeTemplates(in *describeTemplatesIn) (*describeTemplatesOut, error) {
	for _, name := range in.Names {
		if _, err := o.template("", name); err != nil {
			return nil, err
		}
	}
	found, next, err := list(o, listing[*launchTemplate]{kind: kindTemplate, all: o.r.Templates, ids: in.IDs, filters: in.Filters, page: in.page, least: 1, most: 200,
		visible: func(t *launchTemplate) bool {
			return t.Owner == o.call.Account && (len(in.Names) == 0 || slices.Contains(in.Names, t.Name))
		},
		fields: fields[*launchTemplate]{
			"launch-template-name": one(func(t *launchTemplate) string { return t.Name }),
			"create-time":          one(func(t *launchTemplate) string { return stamp(t.Created) }),
		}})
	if err != nil {
		return nil, err
	}
	out := &describeTemplatesOut{NextToken: next}
	for _, t := range found {
		out.Templates = append(out.Templates, t.view())
	}
	return out, nil
}

type describeVersionsIn struct {
	dry
	page
	ID       string   `q:"LaunchTemplateId"`
	Name     string   `q:"LaunchTemplateName"`
	Versions []string `q:"LaunchTemplateVersion"`
	Min      string   `q:"MinVersion"`
	Max      string   `q:"MaxVersion"`
	Filters  []filter `q:"Filter"`
	Resolve  bool     `q:"ResolveAlias"`
	Managed  bool     `q:"IncludeManagedResources"`
}

// A listedVersion is a version with what lists want of it.
type listedVersion struct {
	meta
	t *launchTemplate
	v *templateVersion
}

type describeVersionsOut struct {
	Versions  set[versionXML] `xml:"launchTemplateVersionSet>item"`
	NextToken string          `xml:"nextToken,omitempty"`
}

func (o *op) describeVersions(in *describeVersionsIn) (*describeVersionsOut, error) {
	all, err := o.askedVersions(in)
	if err != nil {
		return nil, err
	}
	found, next, err := list(o, listing[*listedVersion]{all: all, filters: in.Filters, page: in.page, least: 1, most: 200, fields: fields[*listedVersion]{
		"image-id":           one(func(l *listedVersion) string { return l.v.Data.ImageID }),
		"instance-type":      one(func(l *listedVersion) string { return l.v.Data.InstanceType }),
		"is-default-version": func(l *listedVersion) []string { return yes(l.t.Default == l.v.Number) },
		"create-time":        one(func(l *listedVersion) string { return stamp(l.v.Created) }),
	}})
	if err != nil {
		return nil, err
	}
	slices.Reverse(found) // the newest first, as AWS has them
	out := &describeVersionsOut{NextToken: next}
	for _, l := range found {
		out.Versions = append(out.Versions, l.t.versionView(l.v))
	}
	return out, nil
}

// askedVersions are the versions that a request names: of one template, or the
// default or latest ones of all.
func (o *op) askedVersions(in *describeVersionsIn) (map[string]*listedVersion, error) {
	all := map[string]*listedVersion{}
	add := func(t *launchTemplate, v *templateVersion) {
		id := fmt.Sprintf("%s %d", t.ID, v.Number)
		all[id] = &listedVersion{meta{ID: id, Owner: t.Owner, Seq: t.Seq*1000 + int64(v.Number)}, t, v}
	}
	if in.ID == "" && in.Name == "" {
		if len(in.Versions) == 0 {
			return nil, api.Errorf("MissingParameter", "The request must contain the parameter LaunchTemplateId, LaunchTemplateName or Versions")
		}
		for _, t := range o.r.Templates {
			for _, name := range in.Versions {
				if name != "$Latest" && name != "$Default" {
					return nil, api.Errorf("InvalidParameterValue", "Only $Latest and $Default can be asked of all launch templates")
				}
				if v, err := t.version(name); err == nil && t.Owner == o.call.Account {
					add(t, v)
				}
			}
		}
		return all, nil
	}
	t, err := o.template(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Versions {
		v, err := t.version(name)
		if err != nil {
			return nil, err
		}
		add(t, v)
	}
	lowest, _ := strconv.Atoi(in.Min) // "" is 0: none
	highest, _ := strconv.Atoi(in.Max)
	for _, v := range t.Versions {
		if len(in.Versions) == 0 && v.Number >= lowest && (highest == 0 || v.Number <= highest) {
			add(t, v)
		}
	}
	return all, nil
}
