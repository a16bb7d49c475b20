package image_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
)

func (w *world) parameter(region, name string) (value string, version int64) {
	w.t.Helper()
	out, err := ssm.NewFromConfig(sandboxtest.Config(w.box, region)).GetParameter(w.t.Context(), &ssm.GetParameterInput{Name: &name})
	if amazon.IsCode(err, "ParameterNotFound") {
		return "", 0
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return aws.ToString(out.Parameter.Value), out.Parameter.Version
}

func TestParametersFollowTheImageInEveryRegion(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	outputs := func(version string) string {
		return fmt.Sprintf(`
  - ami: {name: web-%[1]s, regions: [us-east-1]}
  - ssm_parameter: {name: /images/web/%[1]s, promote: [/images/web/latest], tags: {app: web}}
`, version)
	}
	w.publish(outputs("1"))
	first := w.only(home, "web-1")
	if got, n := w.parameter(home, "/images/web/latest"); got != *first.ImageId || n != 1 {
		t.Errorf("%s, version %d", got, n)
	}
	w.calls()
	all, err := w.newRun(outputs("1")).do(t.Context(), nil)
	if err != nil || !all[1].Unchanged || len(w.calls()) > 0 {
		t.Errorf("%+v %v", all, err)
	}
	w.frozen("web-2", "")
	w.publish(outputs("2"))
	for _, region := range []string{home, away} {
		i, old := w.only(region, "web-2"), w.only(region, "web-1")
		for name, want := range map[string]string{"/images/web/2": *i.ImageId, "/images/web/latest": *i.ImageId, "/images/web/1": *old.ImageId} {
			if got, _ := w.parameter(region, name); got != want {
				t.Errorf("%s: %s is %q, want %s", region, name, got, want)
			}
		}
	}
}

func TestNothingIsPromotedBeforeAllRegionsHaveTheVersion(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	outputs := `
  - ami: {name: web-1, regions: [us-east-1]}
  - ssm_parameter: {name: /web/1, promote: /web/latest}
`
	w.fail("PutParameter", away)
	w.refuse(outputs, "us-east-1: setting SSM parameter /web/1")
	for _, region := range []string{home, away} {
		if got, _ := w.parameter(region, "/web/latest"); got != "" {
			t.Errorf("%s: promoted to %s", region, got)
		}
	}
	w.box.Faults.Clear()
	w.publish(outputs)
	if got, _ := w.parameter(away, "/web/latest"); got == "" {
		t.Error("not promoted")
	}
}

func (w *world) versions(region, name string) []types.LaunchTemplateVersion {
	w.t.Helper()
	return must[*ec2.DescribeLaunchTemplateVersionsOutput](w.t)(w.ec2(region).DescribeLaunchTemplateVersions(w.t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: &name})).LaunchTemplateVersions
}

// defaultVersion is the number, the image and the type of a template's default version.
func (w *world) defaultVersion(region, name string) string {
	w.t.Helper()
	for _, v := range w.versions(region, name) {
		if aws.ToBool(v.DefaultVersion) {
			return fmt.Sprintf("%d %s %s", *v.VersionNumber, aws.ToString(v.LaunchTemplateData.ImageId), v.LaunchTemplateData.InstanceType)
		}
	}
	return ""
}

func TestALaunchTemplatesNewVersionDiffersInTheImageAlone(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	name, old := "web", w.register("old", "", nil)
	must[*ec2.CreateLaunchTemplateOutput](t)(w.ec2(home).CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{LaunchTemplateName: &name, LaunchTemplateData: &types.RequestLaunchTemplateData{
		ImageId: &old, InstanceType: types.InstanceTypeT3Small, KeyName: aws.String("ops")}}))
	outputs := "  - launch_template: web\n"
	got := w.publish(outputs)
	if have := w.defaultVersion(home, "web"); have != "2 "+w.ami.ID+" t3.small" || got.Values["version"] != "2" {
		t.Errorf("%s, %+v", have, got)
	}
	for _, v := range w.versions(home, "web") {
		if aws.ToString(v.LaunchTemplateData.KeyName) != "ops" {
			t.Errorf("version %d has lost its key pair", *v.VersionNumber)
		}
	}
	w.calls()
	if again := w.publish(outputs); !again.Unchanged || len(w.calls()) > 0 {
		t.Errorf("%+v", again)
	}
}

func TestAVersionThatWasMadeButIsNotTheDefaultIsUsed(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	w.publish("  - launch_template: {name: web, create: {type: t3.small, tags: {app: web}}}\n")
	w.frozen("web-2", "")
	w.fail("ModifyLaunchTemplate", "")
	w.refuse("  - launch_template: web\n", "making version 2 the default")
	w.box.Faults.Clear()
	w.publish("  - launch_template: web\n")
	if have := w.defaultVersion(home, "web"); have != "2 "+w.ami.ID+" t3.small" || len(w.versions(home, "web")) != 2 {
		t.Errorf("%s, %d versions", have, len(w.versions(home, "web")))
	}
}

func TestOldVersionsOfALaunchTemplateArePruned(t *testing.T) {
	w := newWorld(t)
	var numbers []int64
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		w.frozen(name, "")
		w.publish("  - launch_template: {name: web, keep: 2, create: {type: t3.small}}\n")
	}
	for _, v := range w.versions(home, "web") {
		numbers = append(numbers, *v.VersionNumber)
	}
	if diff := cmp.Diff([]int64{4, 3}, numbers); diff != "" {
		t.Error(diff)
	}
	if have := w.defaultVersion(home, "web"); have != "4 "+w.ami.ID+" t3.small" {
		t.Error(have)
	}
}

func TestALaunchTemplateThatIsNotThereIsAnErrorUnlessItMayBeCreated(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	w.refuse("  - launch_template: web\n", "there is none in eu-west-1")
}

// fail makes an action fail in a region.
func (w *world) fail(action, region string) {
	w.t.Helper()
	if err := w.box.Faults.Add(faultOf(action, region)); err != nil {
		w.t.Fatal(err)
	}
}

func TestALaunchTemplateWhoseCreationWasCutShortIsKept(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	v := w.killAt("CreateLaunchTemplate")
	r := w.newRun("  - launch_template: {name: web, create: {type: t3.small}}\n")
	v.do(r)
	if _, err := r.do(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(w.versions(home, "web")); n != 1 {
		t.Errorf("%d versions", n)
	}
}
