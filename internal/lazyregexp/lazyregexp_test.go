package lazyregexp

import (
	"regexp"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryMethodAnswersAsPackageRegexpDoes(t *testing.T) {
	const expr = `(?i)([a-z]+)-(\d+)`
	want := regexp.MustCompile(expr)
	for _, s := range []string{"", "none", "ami-1", "x Ami-12 and snap-3."} {
		got := New(expr)
		same(t, s, got.MatchString(s), want.MatchString(s))
		same(t, s, got.FindString(s), want.FindString(s))
		same(t, s, got.FindStringSubmatch(s), want.FindStringSubmatch(s))
		same(t, s, got.FindStringIndex(s), want.FindStringIndex(s))
		same(t, s, got.FindAllString(s, 1), want.FindAllString(s, 1))
		same(t, s, got.FindSubmatch([]byte(s)), want.FindSubmatch([]byte(s)))
		same(t, s, got.FindAllSubmatch([]byte(s), -1), want.FindAllSubmatch([]byte(s), -1))
		same(t, s, got.ReplaceAllString(s, "$2"), want.ReplaceAllString(s, "$2"))
		upper := func(string) string { return "X" }
		same(t, s, got.ReplaceAllStringFunc(s, upper), want.ReplaceAllStringFunc(s, upper))
		same(t, s, got.String(), expr)
	}
}

func same[T any](t *testing.T, in string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%q (-want +got):\n%s", in, d)
	}
}

func TestAMistakeShowsAtTheFirstUseAndNotBefore(t *testing.T) {
	r := New(`(`)
	defer func() {
		if recover() == nil {
			t.Error("a wrong expression was used")
		}
	}()
	r.MatchString("x")
}

func TestSeveralGoroutinesMayUseItFirst(t *testing.T) {
	r := New(`^a+$`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if !r.MatchString("aaa") {
				t.Error("aaa does not match")
			}
		})
	}
	all.Wait()
}
