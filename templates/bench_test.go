package templates

import (
	"fmt"
	"strings"
	"testing"
)

// hundredSteps is a template as people write them, only longer.
func hundredSteps() []byte {
	var b strings.Builder
	b.WriteString("name: big\nvariables:\n  version: 1.2.3\n  token: {env: SECRET, sensitive: true}\nsource: {image: debian}\nsteps:\n")
	for i := range 100 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, "  - name: step %d\n    run: |\n      echo %d ${{ var.version }}\n      make -C /src target-%d VERSION=${{ upper(var.version) }}\n    timeout: 5m\n", i, i, i)
		case 1:
			fmt.Fprintf(&b, "  - copy: {from: site/%d, to: /usr/share/%d, mode: \"0644\"}\n", i, i)
		case 2:
			fmt.Fprintf(&b, "  - run: curl -H '${{ var.token }}' localhost/%d\n    if: var.version != \"\"\n", i)
		case 3:
			fmt.Fprintf(&b, "  - user: {name: u%d, uid: %d}\n", i, 1000+i)
		}
	}
	b.WriteString("outputs:\n  - registry: {repository: r/x, tags: ['${{ var.version }}']}\n")
	return []byte(b.String())
}

func BenchmarkParse100Steps(b *testing.B) {
	text, lang, opts := hundredSteps(), small(), options(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := ParseBytes("t.yaml", "/", text, lang, opts); len(diags) > 0 {
			b.Fatal(diags.Err())
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := block(b, "{from: site/, count: 7, size: 1GiB, level: high, tags: [a, b], env: {A: 1}, health: {test: x}}")
	b.ReportAllocs()
	for b.Loop() {
		if diags := Decode(body, new(thing)); len(diags) > 0 {
			b.Fatal(diags.Err())
		}
	}
}

func BenchmarkSchema(b *testing.B) {
	for b.Loop() {
		Schema(small())
	}
}
