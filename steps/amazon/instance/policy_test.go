package instance_test

import (
	"strings"
	"testing"

	"bake/internal/need"
	"bake/internal/sandbox/machinetest"
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
	doc := permittest.Document("web", asked)
	l.cloud = permittest.Limit(t, l.Sandbox, doc)
	for run, image := range l.images[:2] {
		if _, err := l.publish([]string{"run-1", "run-2"}[run], image, text); err != nil {
			t.Fatalf("under exactly the policy: %v", err)
		}
	}
	if got := l.running(); len(got) != 1 {
		t.Errorf("running: %v", got)
	}
	permittest.Covers(t, l.Sandbox, doc)
}
