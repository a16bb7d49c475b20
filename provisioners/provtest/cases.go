package provtest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/provisioners"
)

// Suite proves that the kinds work on a machine. comm returns a machine of its
// own for each test, with a POSIX shell at /bin/sh, an /etc/passwd and an
// /etc/group; what else it lacks leaves out only what needs it. Files are
// written all over the machine, which the caller throws away; one that shares
// its files with this machine is refused.
func Suite(t *testing.T, comm func(t *testing.T) builder.Communicator) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Bench)
	}{
		{"run: text, output, shells and exit codes", run},
		{"run: guards", guards},
		{"script: arguments and interpreters", script},
		{"copy: where things go", copyPlaces},
		{"copy: only what differs, twice the same", copyAgain},
		{"copy: owner, mode and links", copyModes},
		{"copy: names that shells trip over", copyNames},
		{"copy: links on the machine", copyLinks},
		{"write", write},
		{"template", template},
		{"directory", directory},
		{"link", link},
		{"line", line},
		{"user and group", users},
		{"wait", wait},
		{"fetch", fetch},
		{"fetch: archives", fetchArchives},
		{"download", download},
		{"checkout", checkout},
		{"local", local},
		{"ansible", ansible},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := New(t, comm(t))
			b.notHere(t)
			c.test(t, b)
		})
	}
}

func run(t *testing.T, b *Bench) {
	b.Do(t, "run", `echo one`, Changed)
	b.Do(t, "run", `["a=1", "", "echo $a two"]`, Changed)
	b.Do(t, "run", `"cat; echo three"`, Changed)
	if got := b.Log(); got != "one\n1 two\nthree" {
		t.Errorf("log: %q", got)
	}
	for text, code := range map[string]int{
		`["false", "echo not reached"]`: 1,
		`"exit 7"`:                      7,
		`{script: ["false", "exit 3"], strict: false}`:       3,
		`{script: "exit 0", exit_codes: [2]}`:                -1,
		`{script: "exit 5", exit_codes: [0, 2]}`:             5,
		`{script: ["#!/bin/sh", "false", "exit 4"]}`:         4,
		`{script: ["false", "exit 6"], shell: "/bin/sh -u"}`: 6,
	} {
		_, err := b.Try(t, "run", text)
		exit, ok := errors.AsType[*builder.ExitError](err)
		if err == nil || ok != (code >= 0) || ok && exit.Code != code {
			t.Errorf("%s: %v, want exit status %d", text, err, code)
		}
	}
	if out := b.Do(t, "run", `{script: "exit 2", exit_codes: [0, 2]}`, Changed); out.Note != "exit status 2, which is allowed" {
		t.Errorf("note %q", out.Note)
	}
	if b.Has(t, "bash") {
		b.Log()
		b.Do(t, "run", `{script: "set -o | grep -E 'pipefail|nounset'; a=(x y); echo ${a[1]}", shell: bash}`, Changed)
		if got := strings.Join(strings.Fields(b.Log()), " "); got != "nounset on pipefail on y" {
			t.Errorf("bash: %q", got)
		}
	}
}

func guards(t *testing.T, b *Bench) {
	b.Do(t, "run", `{script: "mkdir /guard; echo x >/guard/f", creates: /guard/f}`, Changed)
	b.Do(t, "run", `{script: "exit 1", creates: /guard/f}`, Unchanged)
	b.Do(t, "run", `{script: "echo y >/guard/g", creates: [/guard/f, /guard/g]}`, Changed)
	b.Do(t, "run", `{script: "exit 1", creates: [/guard/f, /guard/g]}`, Unchanged)
	b.Do(t, "run", `{script: "exit 1", unless: "[ -e /guard/f ]"}`, Unchanged)
	b.Do(t, "run", `{script: "exit 1", unless: "exit 0"}`, Unchanged)
	b.Do(t, "run", `{script: ":", unless: "false"}`, Changed)
	b.Do(t, "run", `{script: "exit 1", only_if: "false; [ -e /guard/none ]"}`, Unchanged)
	b.Do(t, "run", `{script: ":", only_if: "[ -e /guard/f ]"}`, Changed)
}

func script(t *testing.T, b *Bench) {
	b.File(t, "plain.sh", "echo plain $# \"$1\" \"$2\"\nfalse\necho not reached\n")
	b.File(t, "own.sh", "#!/bin/sh\nfalse\necho own $# \"$1\"\nexit 2\n")
	b.File(t, "dos.sh", "#!/bin/sh\r\necho dos\r\n")
	_, err := b.Try(t, "script", `{file: plain.sh, args: ["a b", "it's"]}`)
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 1 {
		t.Errorf("a script without #! that fails: %v", err)
	}
	b.Do(t, "script", `{file: own.sh, args: "$HOME", exit_codes: [2]}`, Changed)
	b.Do(t, "script", `dos.sh`, Changed)
	if got, want := b.Log(), "plain 2 a b it's\nown 1 $HOME\ndos"; got != want {
		t.Errorf("log: %q, want %q", got, want)
	}
	if !b.Has(t, "env", "awk", "rm") {
		return
	}
	b.File(t, "other.awk", "#!/usr/bin/env -S awk -f\nBEGIN { print \"awk\", ARGV[1] }\n")
	if b.Has(t, "/usr/bin/env -S true") {
		b.Do(t, "script", `{file: other.awk, args: [x]}`, Changed)
		if got := b.Log(); got != "awk x" {
			t.Errorf("awk: %q", got)
		}
	}
	b.Want(t, "ls -d /tmp/.bake-* 2>/dev/null || true", "")
}

func copyPlaces(t *testing.T, b *Bench) {
	for _, name := range []string{"site/index.html", "site/img/a.png", "conf/a.conf", "conf/b.conf", "conf/sub/c.conf", "one"} {
		b.File(t, name, name)
	}
	for i, tt := range []struct {
		text string
		want []string // sorted
	}{
		{"{from: site, to: DIR/}", []string{"DIR/site", "DIR/site/img", "DIR/site/img/a.png", "DIR/site/index.html"}},
		{"{from: site/, to: DIR/}", []string{"DIR/img", "DIR/img/a.png", "DIR/index.html"}},
		{"{from: site, to: DIR/www}", []string{"DIR/www", "DIR/www/img", "DIR/www/img/a.png", "DIR/www/index.html"}},
		{"{from: site/, to: DIR/www}", []string{"DIR/www", "DIR/www/img", "DIR/www/img/a.png", "DIR/www/index.html"}},
		{"{from: one, to: DIR/}", []string{"DIR/one"}},
		{"{from: one, to: DIR/two}", []string{"DIR/two"}},
		{"{from: [one, conf/a.conf], to: DIR/}", []string{"DIR/a.conf", "DIR/one"}},
		{"{from: 'conf/*.conf', to: DIR/}", []string{"DIR/a.conf", "DIR/b.conf"}},
		{"{from: 'conf/**/*.conf', to: DIR/, parents: true}", []string{"DIR/a.conf", "DIR/b.conf", "DIR/sub", "DIR/sub/c.conf"}},
		{"{from: 'conf/**/*.conf', to: DIR/}", []string{"DIR/a.conf", "DIR/b.conf", "DIR/c.conf"}},
		{"{from: conf/, to: DIR/, exclude: ['**/*.conf', '!b.conf']}", []string{"DIR/b.conf", "DIR/sub"}},
	} {
		dir := "/suite/" + string(rune('a'+i))
		b.Do(t, "copy", strings.ReplaceAll(tt.text, "DIR", dir), Changed)
		var got []string
		for f, err := range b.Comm.Get(t.Context(), dir) {
			if err != nil {
				t.Fatal(err)
			}
			if _, below, ok := strings.Cut(f.Path, "/"); ok {
				got = append(got, "DIR/"+below)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s:\n got %v\nwant %v", tt.text, got, tt.want)
		}
		b.Do(t, "copy", strings.ReplaceAll(tt.text, "DIR", dir), again(t, b))
	}
}

// again is what a second run of a copy of several files says: a machine
// without sha256sum cannot tell that nothing changed.
func again(t *testing.T, b *Bench) Change {
	return Change(!b.Has(t, "xargs", "stat", "sha256sum", "readlink"))
}

func copyAgain(t *testing.T, b *Bench) {
	b.File(t, "site/a", "a")
	b.File(t, "site/b", "b")
	b.File(t, "site/sub/c", "c")
	b.Do(t, "copy", "{from: site, to: /suite/}", Changed)
	before := b.Tree(t, "/suite/site")
	b.Do(t, "copy", "{from: site, to: /suite/}", again(t, b))
	b.File(t, "site/b", "B")
	out := b.Do(t, "copy", "{from: site, to: /suite/}", Changed)
	if again(t, b) == Unchanged && out.Note != "1 file, 1 B" {
		t.Errorf("note %q: only one file differs", out.Note)
	}
	if got, want := b.Tree(t, "/suite/site"), strings.Replace(before, `"b"`, `"B"`, 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b.Do(t, "copy", "{from: site/a, to: /suite/site/a}", Unchanged)
	b.Do(t, "copy", "{from: site/a, to: /suite/site/a, mode: '0600'}", Changed)
	b.Do(t, "copy", "{from: site/a, to: /suite/site/a, mode: '0600', owner: 7}", Changed)
	b.WantTree(t, "/suite/site/a", `-rw------- 7:7 a "a"`)
	if _, err := b.Try(t, "copy", "{from: site/a, to: /suite/site}"); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a file in the place of a directory: %v", err)
	}
}

func copyModes(t *testing.T, b *Bench) {
	b.Do(t, "group", "{name: staff2, gid: 4321}", Changed)
	b.Do(t, "user", "{name: app, uid: 1234}", Changed)
	b.File(t, "d/run", "x")
	b.File(t, "d/sub/f", "f")
	if err := errors.Join(os.Chmod(b.Dir+"/d/run", 0o700), os.Chmod(b.Dir+"/d/sub/f", 0o600), os.Chmod(b.Dir+"/d/sub", 0o700),
		os.Symlink("run", b.Dir+"/d/l"), os.Symlink("/etc/passwd", b.Dir+"/d/out")); err != nil {
		t.Fatal(err)
	}
	b.Do(t, "copy", "{from: d, to: /suite/plain}", Changed)
	b.WantTree(t, "/suite/plain", `drwxr-xr-x 0:0 plain`, `L 0:0 plain/l -> run`, `L 0:0 plain/out -> /etc/passwd`,
		`-rwxr-xr-x 0:0 plain/run "x"`, `drwxr-xr-x 0:0 plain/sub`, `-rw-r--r-- 0:0 plain/sub/f "f"`)
	b.Do(t, "copy", "{from: d, to: /suite/kept, keep_mode: true, owner: app}", Changed)
	b.WantTree(t, "/suite/kept", `drwxr-xr-x 1234:1234 kept`, `L 1234:1234 kept/l -> run`, `L 1234:1234 kept/out -> /etc/passwd`,
		`-rwx------ 1234:1234 kept/run "x"`, `drwx------ 1234:1234 kept/sub`, `-rw------- 1234:1234 kept/sub/f "f"`)
	b.Do(t, "copy", "{from: d/sub, to: /suite/given, mode: '4750', dir_mode: '2770', owner: 'app:staff2'}", Changed)
	b.WantTree(t, "/suite/given", `dgrwxrwx--- 1234:4321 given`, `urwxr-x--- 1234:4321 given/f "f"`)
	// A directory that is there keeps what it is.
	b.Do(t, "copy", "{from: d/sub/, to: /suite/kept/sub/, dir_mode: '0777'}", Changed)
	if got := strings.SplitN(b.Tree(t, "/suite/kept/sub"), "\n", 2)[0]; got != "drwx------ 1234:1234 sub" {
		t.Errorf("a directory that was there has become %s", got)
	}
	_, err := b.Try(t, "copy", "{from: d/sub, to: /suite/none, owner: nobody-here}")
	if unknown, ok := errors.AsType[*provisioners.UnknownOwnerError](err); !ok || unknown.Name != "nobody-here" {
		t.Errorf("an unknown owner: %v", err)
	}
}

func copyNames(t *testing.T, b *Bench) {
	names := []string{"a b", "it's", `quo"te`, "-dash", "$HOME", "back\\slash", "ünï", "tab\there", "#hash", "semi;colon", "new\nline"}
	for _, name := range names {
		b.File(t, "odd/"+name, name)
	}
	b.Do(t, "copy", "{from: odd, to: /suite/}", Changed)
	found := 0
	for f, err := range b.Comm.Get(t.Context(), "/suite/odd") {
		if err != nil {
			t.Fatal(err)
		}
		if f.Mode.IsRegular() {
			found++
			if got := content(t, f); "odd/"+got != f.Path {
				t.Errorf("%q holds %q", f.Path, got)
			}
		}
	}
	if found != len(names) {
		t.Errorf("%d files arrived, not %d", found, len(names))
	}
	if err := os.Remove(b.Dir + "/odd/new\nline"); err != nil {
		t.Fatal(err)
	}
	b.Do(t, "copy", "{from: odd, to: /suite/}", again(t, b))
}

func copyLinks(t *testing.T, b *Bench) {
	b.File(t, "site/a", "new a")
	b.File(t, "site/sub/b", "b")
	b.Do(t, "directory", "[/suite/real, /suite/site]", Changed)
	b.Do(t, "write", "{to: /suite/real/precious, content: precious}", Changed)
	b.Do(t, "link", "{path: /suite/site/a, target: ../real/precious}", Changed)
	b.Do(t, "link", "{path: /suite/site/sub, target: ../real}", Changed)
	b.Do(t, "copy", "{from: site, to: /suite/}", Changed)
	b.WantTree(t, "/suite/site", `drwxr-xr-x 0:0 site`, `-rw-r--r-- 0:0 site/a "new a"`, `L 0:0 site/sub -> ../real`)
	b.WantTree(t, "/suite/real", `drwxr-xr-x 0:0 real`, `-rw-r--r-- 0:0 real/b "b"`, `-rw-r--r-- 0:0 real/precious "precious"`)
}

func write(t *testing.T, b *Bench) {
	b.Do(t, "write", `{to: /suite/deep/f, content: "one\ntwo\n"}`, Changed)
	b.Do(t, "write", `{to: /suite/deep/f, content: "one\ntwo\n"}`, Unchanged)
	b.WantTree(t, "/suite/deep/f", `-rw-r--r-- 0:0 f "one\ntwo\n"`)
	b.Do(t, "write", `{to: /suite/deep/f, content: "", mode: "0600", owner: "3:4"}`, Changed)
	b.WantTree(t, "/suite/deep/f", `-rw------- 3:4 f ""`)
	b.Do(t, "write", `{to: /suite/deep/f, content: "", mode: "0600", owner: "3:4"}`, Unchanged)
	if _, err := b.Try(t, "write", `{to: /suite/deep, content: ""}`); err == nil {
		t.Error("a directory was overwritten")
	}
}

func template(t *testing.T, b *Bench) {
	b.File(t, "t.conf", "listen {{ .port }};\n{{ range .names }}{{ . | upper }} {{ end }}{{ join \",\" .names }} {{ json .map }} {{ quote .s }}\n")
	text := `{file: t.conf, to: /suite/t.conf, vars: {port: 80, names: [a, b], map: {k: 1}, s: "it's"}}`
	b.Do(t, "template", text, Changed)
	b.Do(t, "template", text, Unchanged)
	b.WantTree(t, "/suite/t.conf", `-rw-r--r-- 0:0 t.conf "listen 80;\nA B a,b {\"k\":1} 'it'\\''s'\n"`)
	b.Do(t, "template", strings.Replace(text, "80", "81", 1), Changed)
	b.File(t, "d.conf", "<< .x >> {{ .y }}")
	b.Do(t, "template", `{file: d.conf, to: /suite/d.conf, vars: {x: 1}, delimiters: ["<<", ">>"], mode: "0600"}`, Changed)
	b.WantTree(t, "/suite/d.conf", `-rw------- 0:0 d.conf "1 {{ .y }}"`)
}

func directory(t *testing.T, b *Bench) {
	b.Do(t, "directory", "/suite/a/b", Changed)
	b.Do(t, "directory", "[/suite/a, /suite/a/b]", Unchanged)
	b.Do(t, "write", "{to: /suite/a/b/f, content: x}", Changed)
	b.Do(t, "directory", "{path: /suite/a/b, owner: '5:6', mode: '1750'}", Changed)
	b.Do(t, "directory", "{path: /suite/a/b, owner: '5:6', mode: '1750'}", Unchanged)
	b.Do(t, "directory", "{path: /suite/a/b}", Unchanged)
	b.WantTree(t, "/suite/a/b", "dtrwxr-x--- 5:6 b", `-rw-r--r-- 0:0 b/f "x"`)
	if _, err := b.Try(t, "directory", "/suite/a/b/f"); err == nil {
		t.Error("a file was taken for a directory")
	}
	if !b.Has(t, "rm") {
		return
	}
	b.Do(t, "directory", "{path: /suite/a, state: absent}", Changed)
	b.Do(t, "directory", "{path: /suite/a, state: absent}", Unchanged)
	b.WantTree(t, "/suite/a", "nothing")
}

func link(t *testing.T, b *Bench) {
	b.Do(t, "link", "{path: /suite/l, target: some/where}", Changed)
	b.Do(t, "link", "{path: /suite/l, target: some/where}", Unchanged)
	b.Do(t, "link", "{path: /suite/l, target: /else/where}", Changed)
	b.WantTree(t, "/suite/l", "L 0:0 l -> /else/where")
	b.Do(t, "write", "{to: /suite/f, content: x}", Changed)
	if _, err := b.Try(t, "link", "{path: /suite/f, target: l}"); err == nil {
		t.Error("a file was replaced without force")
	}
	b.WantTree(t, "/suite/f", `-rw-r--r-- 0:0 f "x"`)
	b.Do(t, "link", "{path: /suite/f, target: l, force: true}", Changed)
	b.Do(t, "directory", "/suite/d", Changed)
	if _, err := b.Try(t, "link", "{path: /suite/d, target: l, force: true}"); err == nil {
		t.Error("a directory was replaced")
	}
	if b.Has(t, "rm") {
		b.Do(t, "link", "{path: /suite/l, state: absent}", Changed)
		b.Do(t, "link", "{path: /suite/l, state: absent}", Unchanged)
		b.WantTree(t, "/suite/l", "nothing")
	}
}

func line(t *testing.T, b *Bench) {
	b.Do(t, "write", `{to: /suite/conf, content: "a=1\n#b=2\nc=3\n", mode: "0640", owner: "7:8"}`, Changed)
	b.Do(t, "line", `{file: /suite/conf, line: b=5, regexp: "^#?b="}`, Changed)
	b.Do(t, "line", `{file: /suite/conf, line: b=5, regexp: "^#?b="}`, Unchanged)
	b.WantTree(t, "/suite/conf", `-rw-r----- 7:8 conf "a=1\nb=5\nc=3\n"`)
	b.Do(t, "link", "{path: /suite/alias, target: conf}", Changed)
	b.Do(t, "line", `{file: /suite/alias, line: d=4}`, Changed)
	b.Do(t, "line", `{file: /suite/alias, regexp: "^[ac]=", state: absent}`, Changed)
	b.WantTree(t, "/suite/conf", `-rw-r----- 7:8 conf "b=5\nd=4\n"`)
	b.WantTree(t, "/suite/alias", `L 0:0 alias -> conf`)
	if _, err := b.Try(t, "line", `{file: /suite/none, line: x}`); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	b.Do(t, "line", `{file: /suite/none, line: x, state: absent}`, Unchanged)
	b.Do(t, "line", `{file: /suite/none, line: x, create: true}`, Changed)
	b.WantTree(t, "/suite/none", `-rw-r--r-- 0:0 none "x\n"`)
}

func users(t *testing.T, b *Bench) {
	passwd := b.Tree(t, "/etc/passwd")
	b.Do(t, "group", "{name: web, gid: 4000}", Changed)
	b.Do(t, "group", "{name: web, gid: 4000}", Unchanged)
	b.Do(t, "group", "web", Unchanged)
	b.Do(t, "user", "{name: app, uid: 4001, groups: web, comment: The App}", Changed)
	b.Do(t, "user", "{name: app, uid: 4001, groups: web, comment: The App}", Unchanged)
	b.Do(t, "user", "app", Unchanged)
	if got := b.Tree(t, "/home/app"); !strings.HasPrefix(got, "drwxr-xr-x 4001:4001 app") {
		t.Errorf("home: %s", got)
	}
	b.Do(t, "user", "{name: daemon2, system: true}", Changed)
	after := b.Tree(t, "/etc/passwd")
	for _, want := range []string{`app:x:4001:4001:The App:/home/app:/bin/sh\n`, `:/home/daemon2:/usr/sbin/nologin\n`} {
		if !strings.Contains(after, want) {
			t.Errorf("passwd lacks %s: %s", want, after)
		}
	}
	if got := b.Tree(t, "/etc/group"); !strings.Contains(got, `web:x:4000:app\n`) || !strings.Contains(got, `app:x:4001:\n`) {
		t.Errorf("group: %s", got)
	}
	if err := b.Comm.Run(t.Context(), builder.Command{Script: "exit 0", User: "app"}); err != nil {
		t.Errorf("the user cannot run anything: %v", err)
	}
	if _, err := b.Try(t, "group", "{name: web, state: absent}"); err != nil {
		t.Error(err)
	}
	if _, err := b.Try(t, "group", "{name: app, state: absent}"); err == nil {
		t.Error("a login group was removed")
	}
	b.Do(t, "user", "{name: app, state: absent}", Changed)
	b.Do(t, "user", "{name: daemon2, state: absent}", Changed)
	b.Do(t, "user", "{name: app, state: absent}", Unchanged)
	if got := b.Tree(t, "/etc/passwd"); got != passwd {
		t.Errorf("passwd is not as it was:\n%s\n%s", passwd, got)
	}
}

func wait(t *testing.T, b *Bench) {
	b.Do(t, "wait", "1ms", Unchanged)
	b.Do(t, "wait", "{file: /etc/passwd}", Unchanged)
	b.Do(t, "wait", `{command: "echo x >>/waited; [ $(echo $(cat /waited) | wc -c) -gt 4 ]", interval: 10ms}`, Unchanged)
	begin := time.Now()
	_, err := b.Try(t, "wait", `{command: "echo not yet >&2; exit 1", timeout: 50ms, interval: 20ms}`)
	if late, ok := errors.AsType[*provisioners.TimeoutError](err); !ok || late.Last != ": not yet" {
		t.Errorf("what never comes: %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("gave up after %v, not 50ms", took)
	}
}
