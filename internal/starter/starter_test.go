package starter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	embedded "bake/templates/starter"
)

func list(t *testing.T) []Starter {
	t.Helper()
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryStarterHasATitleAndAsksForAName(t *testing.T) {
	files, err := fs.Glob(embedded.Files(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := list(t)
	if len(all) != len(files) || len(all) < 6 || all[0].Name != "container" {
		t.Errorf("%d starters of %d files, the first is %s", len(all), len(files), all[0].Name)
	}
	for _, s := range all {
		if len(s.Title) < 20 || strings.Contains(s.Title, "#") || len(s.Questions) == 0 || s.Questions[0].Key != "name" {
			t.Errorf("%s: title %q, questions %v", s.Name, s.Title, s.Questions)
		}
		for _, q := range s.Questions {
			if !strings.HasSuffix(q.Text, "?") || q.Default == "" {
				t.Errorf("%s: question %+v", s.Name, q)
			}
		}
	}
}

func TestNothingOfTheMarksIsLeft(t *testing.T) {
	for _, s := range list(t) {
		text, err := s.Render(nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "#?") || strings.Contains(string(text), "#=") {
			t.Errorf("%s still has marks:\n%s", s.Name, text)
		}
		var before, after any
		if err := errors.Join(yaml.Unmarshal([]byte(s.text), &before), yaml.Unmarshal(text, &after)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("%s means something else with its defaults filled in:\n%s", s.Name, d)
		}
	}
}

func TestAnswersAreTheStringsThatWereGiven(t *testing.T) {
	s, err := Find("container")
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{"shop", "1.10", "1.2.3", "yes", "null", "a: b", "a #b", `say "hi" \n`, "'", "- x", "*x", "&x", "!x", "{a}", "[a]",
		"@x", "`x`", "", " lead", "trail ", "über", "0x10", "1e3", "12:30:45", "~", "<<", "=", "%x", "a:", "?", "2024-01-01", "<b>&amp;</b>"} {
		t.Run(answer, func(t *testing.T) {
			text, err := s.Render(map[string]string{"name": answer})
			if err != nil {
				t.Fatal(err)
			}
			var doc struct{ Name any }
			if err := yaml.Unmarshal(text, &doc); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if doc.Name != answer {
				t.Errorf("got %#v in\n%s", doc.Name, text[:200])
			}
		})
	}
}

func TestAnExpressionInAnAnswerIsText(t *testing.T) {
	s, err := Find("static-site")
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Render(map[string]string{"title": "${{ env.HOME }}"})
	if err != nil || !strings.Contains(string(text), `"$${{ env.HOME }}"`) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	s, err := Find("container")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Render(map[string]string{"name": "a\nb"}); err == nil {
		t.Error("two lines were taken")
	}
	_, err = s.Render(map[string]string{"colour": "red"})
	unknown, ok := errors.AsType[*UnknownError](err)
	if !ok || !strings.Contains(unknown.Hint(), "version") {
		t.Errorf("error %v", err)
	}
	if _, err := Find("none"); err == nil || !strings.Contains(err.(*UnknownError).Hint(), "go-service") {
		t.Errorf("error %v", err)
	}
}

func TestTheQuestionsAsked(t *testing.T) {
	var out strings.Builder
	p := NewPrompter(strings.NewReader("9\nstatic-site\nblog\n\n"), &out)
	s, err := p.Choose(t.Context(), list(t))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := p.Ask(t.Context(), s, map[string]string{"port": "9000"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"name": "blog", "title": "My site", "port": "9000", "archive": "dist/site.tar"}
	if d := cmp.Diff(want, answers); d != "" {
		t.Error(d)
	}
	for _, text := range []string{"  2  static-site", `There is no "9"`, "What is the image called? [site] ", "What does the page say at the top? [My site] "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in\n%s", text, &out)
		}
	}
	if strings.Contains(out.String(), "port") {
		t.Errorf("asked for what was given:\n%s", &out)
	}
}

func TestWithoutInputTheDefaultsCount(t *testing.T) {
	p := NewPrompter(strings.NewReader(""), &strings.Builder{})
	s, err := p.Choose(t.Context(), list(t))
	if err != nil || s.Name != "container" {
		t.Fatalf("%s, %v", s.Name, err)
	}
	if answers, err := p.Ask(t.Context(), s, nil); err != nil || answers["name"] != "app" {
		t.Errorf("%v, %v", answers, err)
	}
}

func TestTheDemoIsAYAMLFile(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "demo", "bake.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil || doc["name"] != "demo" {
		t.Errorf("%v, %v", doc["name"], err)
	}
}
