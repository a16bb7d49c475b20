package provisioners

import (
	"fmt"
	"testing"
)

func TestLineEdits(t *testing.T) {
	line := func(s string) *string { return &s }
	for _, tt := range []struct {
		name       string
		l          Line
		have, want string
		note       string
	}{
		{"append", Line{Line: line("c")}, "a\nb\n", "a\nb\nc\n", "added line 3"},
		{"append where the last line has no end", Line{Line: line("c")}, "a\nb", "a\nb\nc\n", "added line 3"},
		{"to an empty file", Line{Line: line("c")}, "", "c\n", "added line 1"},
		{"there already", Line{Line: line("b")}, "a\nb\n", "a\nb\n", ""},
		{"there without an end", Line{Line: line("b")}, "a\nb", "a\nb", ""},
		{"the last match is replaced", Line{Line: line("x=3"), Regexp: "^x="}, "x=1\nx=2\ny\n", "x=1\nx=3\ny\n", "replaced line 2"},
		{"the replacement is there", Line{Line: line("x=2"), Regexp: "^x="}, "x=1\nx=2\n", "x=1\nx=2\n", ""},
		{"a replacement keeps a missing end", Line{Line: line("x=3"), Regexp: "^x="}, "y\nx=2", "y\nx=3", "replaced line 2"},
		{"nothing matches, the line is there", Line{Line: line("y"), Regexp: "^x="}, "y\n", "y\n", ""},
		{"nothing matches", Line{Line: line("x=3"), Regexp: "^x="}, "y\n", "y\nx=3\n", "added line 2"},
		{"after the last match", Line{Line: line("n"), InsertAfter: "^a"}, "a1\na2\nb\n", "a1\na2\nn\nb\n", "added line 3"},
		{"after what does not match", Line{Line: line("n"), InsertAfter: "^z"}, "a\n", "a\nn\n", "added line 2"},
		{"after the end", Line{Line: line("n"), InsertAfter: "EOF"}, "a\n", "a\nn\n", "added line 2"},
		{"before a match", Line{Line: line("n"), InsertBefore: "^b"}, "a\nb\nc", "a\nn\nb\nc", "added line 2"},
		{"before the beginning", Line{Line: line("n"), InsertBefore: "BOF"}, "a\n", "n\na\n", "added line 1"},
		{"an empty line", Line{Line: line("")}, "a\n", "a\n\n", "added line 2"},
		{"absent", Line{Line: line("b"), State: "absent"}, "a\nb\nc\nb\n", "a\nc\n", "removed 2"},
		{"absent by pattern", Line{Regexp: "^[ab]", State: "absent"}, "a\nb\nc\n", "c\n", "removed 2"},
		{"absent, nothing left", Line{Regexp: ".", State: "absent"}, "a\nb", "", "removed 2"},
		{"absent keeps a missing end", Line{Line: line("a"), State: "absent"}, "a\nb", "b", "removed 1"},
		{"absent at the missing end", Line{Line: line("b"), State: "absent"}, "a\nb", "a\n", "removed 1"},
		{"absent already", Line{Line: line("x"), State: "absent"}, "a\nb", "a\nb", ""},
	} {
		got, note, err := tt.l.edit([]byte(tt.have))
		if err != nil || string(got) != tt.want || note != tt.note {
			t.Errorf("%s: %q, note %q, %v; want %q, %q", tt.name, got, note, err, tt.want, tt.note)
		}
	}
}

func TestInterpreters(t *testing.T) {
	for _, tt := range []struct {
		choice, script string
		strict         bool
		want           string
	}{
		{"", "echo", true, "[/bin/sh -e]"},
		{"", "echo", false, "[/bin/sh]"},
		{"bash", "echo", true, "[/bin/bash -euo pipefail]"},
		{"bash", "echo", false, "[/bin/bash]"},
		{"bash -x", "echo", true, "[/bin/bash -x]"},
		{"/usr/local/bin/bash", "echo", true, "[/usr/local/bin/bash -euo pipefail]"},
		{"python3", "print(1)", true, "[/usr/bin/env python3]"},
		{"python3 -u", "print(1)", true, "[/usr/bin/env python3 -u]"},
		{"", "#!/bin/bash\necho", true, "[/bin/bash]"},
		{"", "#! /usr/bin/env  python3 \nprint(1)", true, "[/usr/bin/env python3]"},
		{"", "#!/usr/bin/env -S awk -f\n", true, "[/usr/bin/env awk -f]"},
		{"", "#!/usr/bin/perl -w -T\n", true, "[/usr/bin/perl -w -T]"},
		{"sh", "#!/usr/bin/perl\n", true, "[/bin/sh -e]"},
		{"", "#!\necho", true, "[/bin/sh -e]"},
	} {
		if got := sprint(interpreter(tt.choice, tt.script, tt.strict)); got != tt.want {
			t.Errorf("%q, %q: %s, want %s", tt.choice, tt.script, got, tt.want)
		}
	}
	for _, words := range [][]string{{"/bin/sh", "-e"}, {"/usr/bin/env", "bash"}, {"/bin/busybox", "sh"}, {"/usr/bin/env", "-i", "dash"}} {
		if !isShell(words) {
			t.Errorf("%v is a shell", words)
		}
	}
	for _, words := range [][]string{{"/usr/bin/python3"}, {"/usr/bin/env", "perl", "sh"}, nil} {
		if isShell(words) {
			t.Errorf("%v is no shell", words)
		}
	}
}

func TestArgumentsGoIntoTheFirstLine(t *testing.T) {
	for script, want := range map[string]string{
		"#!/bin/sh\necho": "set -- 'a b' c; \necho",
		"echo $1\n":       "set -- 'a b' c; echo $1\n",
		"":                "set -- 'a b' c; ",
	} {
		if got := withArgs(script, []string{"a b", "c"}); got != want {
			t.Errorf("%q: %q, want %q", script, got, want)
		}
	}
}

func TestByteCounts(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1234567: "1.23 MB", 999999: "1 MB", 12300000000: "12.3 GB"} {
		if got := byteCount(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRecapOfAnsible(t *testing.T) {
	for said, unchanged := range map[string]bool{
		"PLAY RECAP ***\nbake                       : ok=3    changed=0    unreachable=0    failed=0\n": true,
		"PLAY RECAP ***\nbake                       : ok=3    changed=2    unreachable=0    failed=0\n": false,
		"{}": false,
	} {
		if out := recap([]byte(said)); out.Unchanged != unchanged {
			t.Errorf("%q: %+v", said, out)
		}
	}
}

func sprint(words []string) string { return fmt.Sprint(words) }
