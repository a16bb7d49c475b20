package instance_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/instance"
	"bake/steps/amazon/permit/permittest"
	"bake/templates"
)

func TestAnInstanceIsStartedOpenedAndReplacedUnderThePolicyThatIsPrinted(t *testing.T) {
	need.Root(t)
	machinetest.Program(t)
	l := newLab(t)
	text := strings.Replace(web, `"machine"`, `"open": "80", "machine"`, 1)
	asked := instance.New(nil)()
	b, err := templates.FromJSON(templates.JSON(text), templates.Pos{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := templates.Decode(b, asked).Err(); err != nil {
		t.Fatal(err)
	}
	// What a build of the template makes has its tag, and nothing else may be started.
	own := []string{copied(t, l, "one"), copied(t, l, "two")}
	doc := permittest.Document("web", asked)
	l.cloud = permittest.Limit(t, l.Sandbox, doc)
	other := strings.Replace(text, `"open": "80"`, `"open": "443"`, 1)
	for _, run := range []struct{ id, image, text string }{{"run-1", own[0], text}, {"run-2", own[1], text}, {"run-3", own[1], other}} {
		if _, err := l.publish(run.id, run.image, run.text); err != nil {
			t.Fatalf("under exactly the policy: %v", err)
		}
	}
	if got := l.running(); len(got) != 1 {
		t.Errorf("running: %v", got)
	}
	permittest.Covers(t, l.Sandbox, doc)
	permittest.Needed(t, l.Sandbox, doc, map[string]string{
		"ec2:StartInstances": "an instance that somebody has stopped",
	})
	if _, err := l.publish("run-4", l.images[0], text); err == nil {
		t.Error("an instance of somebody else's image was started")
	}
}

// copied is an image of the account that the template web has made.
func copied(t *testing.T, l *lab, name string) string {
	t.Helper()
	out, err := ec2.NewFromConfig(sandboxtest.Config(l.Sandbox, "eu-west-1")).CopyImage(t.Context(), &ec2.CopyImageInput{
		SourceImageId: &l.images[0], SourceRegion: aws.String("eu-west-1"), Name: &name,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: []types.Tag{{Key: aws.String(amazon.TagTemplate), Value: aws.String("web")}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ImageId
}
