package provisioners_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/provisioners"
	"bake/provisioners/provtest"
	"bake/templates"
)

func ptr[T any](v T) *T { return &v }

func TestDecodeOfEveryKindAndKey(t *testing.T) {
	for _, tt := range []struct {
		kind, text string
		want       builder.Provisioner
	}{
		{"run", `echo hi`, &provisioners.Run{Script: []string{"echo hi"}, Strict: true}},
		{"run", `[a, b]`, &provisioners.Run{Script: []string{"a", "b"}, Strict: true}},
		{"run", `{script: a, shell: bash, strict: false, exit_codes: [0, 2], creates: [/a, /b], unless: u, only_if: o}`,
			&provisioners.Run{Script: []string{"a"}, Shell: "bash", ExitCodes: []int{0, 2}, Creates: []string{"/a", "/b"}, Unless: "u", OnlyIf: "o"}},
		{"script", `a.sh`, &provisioners.Script{File: "a.sh"}},
		{"script", `{file: a.sh, args: [x, y], exit_codes: [1], creates: /a, unless: u, only_if: o}`,
			&provisioners.Script{File: "a.sh", Args: []string{"x", "y"}, ExitCodes: []int{1}, Creates: []string{"/a"}, Unless: "u", OnlyIf: "o"}},
		{"copy", `{from: a, to: /b}`, &provisioners.Copy{From: []string{"a"}, To: "/b"}},
		{"copy", `{from: [a, c], to: /b/, exclude: "*.log", owner: "app:web", mode: "0640", dir_mode: "0750", keep_mode: true, parents: true}`,
			&provisioners.Copy{From: []string{"a", "c"}, To: "/b/", Exclude: []string{"*.log"}, Owner: "app:web", Mode: 0o640, DirMode: 0o750, KeepMode: true, Parents: true}},
		{"write", `{to: /a, content: ""}`, &provisioners.Write{To: "/a", Content: ptr(""), Mode: 0o644}},
		{"write", `{to: /a, content: x, owner: 1000, mode: "0600"}`, &provisioners.Write{To: "/a", Content: ptr("x"), Owner: "1000", Mode: 0o600}},
		{"template", `{file: t, to: /a}`, &provisioners.Template{File: "t", To: "/a", Mode: 0o644}},
		{"template", `{file: t, to: /a, vars: {a: 1, b: [x]}, delimiters: [<, ">"], owner: a, mode: "0600"}`,
			&provisioners.Template{File: "t", To: "/a", Vars: map[string]any{"a": 1, "b": []any{"x"}}, Delimiters: []string{"<", ">"}, Owner: "a", Mode: 0o600}},
		{"directory", `/a`, &provisioners.Directory{Path: []string{"/a"}, State: "present"}},
		{"directory", `{path: [/a, /b], owner: a, mode: "1777", state: absent}`, &provisioners.Directory{Path: []string{"/a", "/b"}, Owner: "a", Mode: 0o1777, State: "absent"}},
		{"link", `{path: /a, target: b}`, &provisioners.Link{Path: "/a", Target: "b", State: "present"}},
		{"link", `{path: /a, target: b, force: true, owner: "1:2"}`, &provisioners.Link{Path: "/a", Target: "b", Force: true, Owner: "1:2", State: "present"}},
		{"link", `{path: /a, state: absent}`, &provisioners.Link{Path: "/a", State: "absent"}},
		{"line", `{file: /a, line: x}`, &provisioners.Line{File: "/a", Line: ptr("x"), State: "present"}},
		{"line", `{file: /a, line: "", regexp: r, insert_after: i, create: true, owner: a, mode: "0600"}`,
			&provisioners.Line{File: "/a", Line: ptr(""), Regexp: "r", InsertAfter: "i", State: "present", Create: true, Owner: "a", Mode: 0o600}},
		{"line", `{file: /a, regexp: r, state: absent}`, &provisioners.Line{File: "/a", Regexp: "r", State: "absent"}},
		{"line", `{file: /a, line: x, insert_before: BOF}`, &provisioners.Line{File: "/a", Line: ptr("x"), InsertBefore: "BOF", State: "present"}},
		{"group", `web`, &provisioners.Group{Name: "web", State: "present"}},
		{"group", `{name: web, gid: 12, system: true, state: absent}`, &provisioners.Group{Name: "web", GID: 12, System: true, State: "absent"}},
		{"user", `app`, &provisioners.User{Name: "app", State: "present"}},
		{"user", `{name: app, uid: 1, group: g, groups: [a, b], home: /h, create_home: false, shell: /s, system: true, comment: c, state: absent}`,
			&provisioners.User{Name: "app", UID: 1, Group: "g", Groups: []string{"a", "b"}, Home: "/h", CreateHome: ptr(false), Shell: "/s", System: true, Comment: "c", State: "absent"}},
		{"wait", `5s`, &provisioners.Wait{Duration: 5 * time.Second, Timeout: time.Minute, Interval: time.Second}},
		{"wait", `{port: 80, timeout: 2m, interval: 100ms}`, &provisioners.Wait{Port: 80, Timeout: 2 * time.Minute, Interval: 100 * time.Millisecond}},
		{"wait", `{file: /a}`, &provisioners.Wait{File: "/a", Timeout: time.Minute, Interval: time.Second}},
		{"wait", `{command: "true"}`, &provisioners.Wait{Command: "true", Timeout: time.Minute, Interval: time.Second}},
		{"reboot", `{}`, &provisioners.Reboot{Timeout: 10 * time.Minute}},
		{"reboot", `shutdown -r now`, &provisioners.Reboot{Command: "shutdown -r now", Timeout: 10 * time.Minute}},
		{"reboot", `{command: c, timeout: 1m}`, &provisioners.Reboot{Command: "c", Timeout: time.Minute}},
		{"local", `make`, &provisioners.Local{Script: []string{"make"}, Strict: true}},
		{"local", `{script: [a, b], shell: bash, strict: false, exit_codes: [0, 1], inputs: src}`,
			&provisioners.Local{Script: []string{"a", "b"}, Shell: "bash", ExitCodes: []int{0, 1}, Inputs: []string{"src"}}},
		{"package", `nginx`, &provisioners.Package{Install: []string{"nginx"}}},
		{"package", `[nginx=1.2*, libc6:amd64, g++, "@development"]`, &provisioners.Package{Install: []string{"nginx=1.2*", "libc6:amd64", "g++", "@development"}}},
		{"package", `{install: a, remove: b, update: all, recommends: true, keep_cache: true, manager: apt, options: [-t, x]}`,
			&provisioners.Package{Install: []string{"a"}, Remove: []string{"b"}, Update: []string{"all"}, Recommends: true, KeepCache: true, Manager: "apt", Options: []string{"-t", "x"}}},
		{"service", `nginx`, &provisioners.Service{Name: []string{"nginx"}, Enabled: true}},
		{"service", `{name: [a@b.service, c], enabled: false, state: stopped}`, &provisioners.Service{Name: []string{"a@b.service", "c"}, State: "stopped"}},
		{"download", `{from: /a, to: b}`, &provisioners.Download{From: templates.Strings{"/a"}, To: "b"}},
		{"fetch", `{url: "https://x/y", to: /a}`, &provisioners.Fetch{URL: "https://x/y", To: "/a"}},
		{"fetch", `{url: "http://x/y", to: /a, sha256: ` + strings.Repeat("aB", 32) + `, owner: a, extract: true, strip: 1, headers: {A: b}}`,
			&provisioners.Fetch{URL: "http://x/y", To: "/a", SHA256: strings.Repeat("aB", 32), Owner: "a", Extract: true, Strip: 1, Headers: map[string]string{"A": "b"}}},
		{"fetch", `{url: "https://x/y", to: /a, mode: "0755"}`, &provisioners.Fetch{URL: "https://x/y", To: "/a", Mode: 0o755}},
		{"checkout", `{repo: r, to: /a}`, &provisioners.Checkout{Repo: "r", Ref: "HEAD", To: "/a", Depth: 1}},
		{"checkout", `{repo: r, ref: v1, to: /a, path: p, exclude: [x], submodules: true, depth: 0, owner: a}`,
			&provisioners.Checkout{Repo: "r", Ref: "v1", To: "/a", Path: "p", Exclude: []string{"x"}, Submodules: true, Owner: "a"}},
		{"ansible", `p.yml`, &provisioners.Ansible{Playbook: "p.yml"}},
		{"ansible", `{playbook: p.yml, extra_vars: {a: 1}, groups: g, tags: [t], skip_tags: s, requirements: r.yml, verbose: 2, options: [--diff], inputs: [i]}`,
			&provisioners.Ansible{Playbook: "p.yml", ExtraVars: map[string]any{"a": 1}, Groups: []string{"g"}, Tags: []string{"t"}, SkipTags: []string{"s"},
				Requirements: "r.yml", Verbose: 2, Options: []string{"--diff"}, Inputs: []string{"i"}}},
	} {
		got := provisioners.All(provisioners.Deps{})[tt.kind]()
		if ds := templates.Decode(provtest.Block(t, "t", tt.text), got); len(ds) > 0 {
			t.Errorf("%s: %s: %v", tt.kind, tt.text, ds.Err())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s: -want +got:\n%s", tt.kind, tt.text, diff)
		}
	}
}

func TestDecodeTellsEveryMistake(t *testing.T) {
	for _, tt := range []struct{ kind, text, want string }{
		{"run", `{shell: bash}`, `"script" is missing`},
		{"run", `" "`, `nothing to run`},
		{"run", `{script: a, exit_codes: [0, 256, -1]}`, `exit code 256: must be from 0 to 255; exit code -1: must be from 0 to 255`},
		{"run", `{script: a, creates: rel}`, `creates must be an absolute path on the machine, not "rel"`},
		{"run", `{script: a, strict: maybe}`, `"strict" must be true or false, not "maybe"`},
		{"run", `{scirpt: a}`, `unknown key "scirpt"`},
		{"script", `{args: a}`, `"file" is missing`},
		{"script", `{file: a, exit_codes: [999]}`, `exit code 999: must be from 0 to 255`},
		{"script", `{file: a, creates: [b]}`, `creates must be an absolute path on the machine, not "b"`},
		{"copy", `{from: a}`, `"to" is missing`},
		{"copy", `{to: /a}`, `"from" is missing`},
		{"copy", `{from: a, to: b}`, `to must be an absolute path on the machine, not "b"`},
		{"copy", `{from: [a, b], to: /c}`, `/c must end in a slash: 2 things are copied into it`},
		{"copy", `{from: a, to: /b, owner: "a b"}`, `not an owner: "a b"`},
		{"copy", `{from: a, to: /b, owner: [a]}`, `not an owner: ["a"]`},
		{"copy", `{from: a, to: /b, mode: rwx}`, `"mode" must be a file mode like "0644", not "rwx"`},
		{"write", `{to: /a}`, `"content" is missing`},
		{"write", `{to: a, content: x}`, `to must be an absolute path on the machine, not "a"`},
		{"write", `{to: /a/, content: x}`, `to must name the file itself, not the directory /a/`},
		{"template", `{file: a, to: /b/}`, `to must name the file itself, not the directory /b/`},
		{"template", `{file: a, to: /b, delimiters: [x]}`, `delimiters must be two strings, like ["<<", ">>"]`},
		{"directory", `[/a, b]`, `path must be an absolute path on the machine, not "b"`},
		{"directory", `{path: /a/.., state: absent}`, `the root directory is not for a template to make or remove`},
		{"directory", `{path: /a, state: gone}`, `"state" must be "present" or "absent", not "gone"`},
		{"link", `{path: /a}`, `target is missing: what the link points to`},
		{"link", `{path: /a, target: b, state: absent}`, `a link that is to be absent has no target`},
		{"link", `{path: a, target: b}`, `path must be an absolute path on the machine, not "a"`},
		{"line", `{file: /a}`, `line is missing: what is to stand in the file`},
		{"line", `{file: /a, state: absent}`, `line or regexp must say which lines are to be absent`},
		{"line", `{file: /a, line: "a\nb"}`, `line holds more than one line`},
		{"line", `{file: /a, line: x, regexp: "("}`, "error parsing regexp: missing closing ): `(`"},
		{"line", `{file: /a, line: x, insert_after: a, insert_before: b}`, `insert_before and insert_after exclude each other`},
		{"group", `{name: "a:b"}`, `not a name of a user or group: "a:b"`},
		{"group", `{name: a, gid: 0}`, `"gid" must be at least 1, not 0`},
		{"user", `1abc`, `not a name of a user or group: "1abc"`},
		{"user", `{name: a, home: h}`, `home must be an absolute path on the machine, not "h"`},
		{"user", `{name: a, comment: "a:b"}`, `comment must not hold a colon or a line break`},
		{"wait", `{}`, `exactly one of duration, port, file and command must be given`},
		{"wait", `{port: 1, file: /a}`, `exactly one of duration, port, file and command must be given`},
		{"wait", `{file: a}`, `file must be an absolute path on the machine, not "a"`},
		{"wait", `forever`, `"duration" must be a duration like 90s, 10m or 1h30m, not "forever"`},
		{"wait", `{port: 0}`, `"port" must be at least 1, not 0`},
		{"reboot", `{timeout: 0s}`, `"timeout" must be at least 1s, not "0s"`},
		{"local", `{script: ""}`, `nothing to run`},
		{"local", `{script: a, exit_codes: [-1]}`, `exit code -1: must be from 0 to 255`},
		{"package", `{recommends: true}`, `nothing to install, remove or update`},
		{"package", `"a b"`, `not a package: "a b"`},
		{"package", `[a, --force]`, `not a package: "--force"`},
		{"package", `{remove: a=1}`, `not a package: "a=1"`},
		{"package", `{install: "a;b"}`, `not a package: "a;b"`},
		{"package", `{install: a, manager: pacman}`, `"manager" must be "apt", "dnf", "yum", "microdnf", "zypper" or "apk", not "pacman"`},
		{"service", `"a b"`, `"name" must match ^[A-Za-z0-9_@:.\\-]+$, not "a b"`},
		{"service", `{name: a, state: up}`, `"state" must be "started", "stopped" or "restarted", not "up"`},
		{"fetch", `{url: "ftp://x/y", to: /a}`, `not a URL to download from: "ftp://x/y"`},
		{"fetch", `{url: "http://x/y", to: /a}`, `http without sha256: anybody on the way could change the file`},
		{"fetch", `{url: "https://x/y", to: a}`, `to must be an absolute path on the machine, not "a"`},
		{"download", `{from: a, to: b}`, `from must be an absolute path on the machine, not "a"`},
		{"download", `{from: [/a, /b], to: b}`, `b must end in a slash: 2 things are downloaded into it`},
		{"fetch", `{url: "https://x/y", to: /a, sha256: abc}`, `"sha256" must match ^(sha256:)?[0-9a-fA-F]{64}$, not "abc"`},
		{"fetch", `{url: "https://x/y", to: /a, strip: 1}`, `strip is for archives: it needs extract: true`},
		{"fetch", `{url: "https://x/y", to: /a, extract: true, mode: "0644"}`, `the files of an archive have their own modes`},
		{"checkout", `{repo: --upload-pack=x, to: /a}`, `repo must not begin with a dash: "--upload-pack=x"`},
		{"checkout", `{repo: r, ref: -x, to: /a}`, `ref must not begin with a dash: "-x"`},
		{"checkout", `{repo: r, to: a}`, `to must be an absolute path on the machine, not "a"`},
		{"checkout", `{repo: r, to: /a, path: ../x}`, `path must be inside the repository, not "../x"`},
		{"ansible", `{tags: x}`, `"playbook" is missing`},
		{"ansible", `{playbook: p, groups: a-b}`, `not a name of a group: "a-b"`},
		{"ansible", `{playbook: p, verbose: 9}`, `"verbose" must be at most 4, not 9`},
	} {
		ds := templates.Decode(provtest.Block(t, "t", tt.text), provisioners.All(provisioners.Deps{})[tt.kind]())
		var got []string
		for _, d := range ds {
			message, _, _ := strings.Cut(d.Message, " in \"")
			got = append(got, message)
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: %s:\n got %s\nwant %s", tt.kind, tt.text, strings.Join(got, "; "), tt.want)
		}
	}
}

func TestEveryKeyHasADocForEditors(t *testing.T) {
	kinds := map[string]any{}
	for kind, make := range provisioners.All(provisioners.Deps{}) {
		kinds[kind] = make()
		typ := reflect.TypeOf(kinds[kind]).Elem()
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Tag.Get("yaml") == "-" {
				continue // comes from Deps, not from a template
			}
			if doc := f.Tag.Get("doc"); f.Tag.Get("yaml") == "" || !strings.HasSuffix(doc, ".") {
				t.Errorf("%s: %s: yaml %q, doc %q", kind, f.Name, f.Tag.Get("yaml"), doc)
			}
		}
	}
	schema := string(templates.Schema(templates.Language{Steps: kinds}))
	for kind := range kinds {
		if !strings.Contains(schema, `"`+kind+`"`) {
			t.Errorf("the schema lacks %s", kind)
		}
	}
}

func TestCheckTellsMissingAndUnfitFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "a", "b.conf": "", "c.conf": "", "t": "{{ .x }}", "broken": "{{ .x", "d/f": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ kind, text, want string }{
		{"copy", `{from: [a, none, "*.none"], to: /x/}`, "none: no such file or directory; *.none: file does not exist"},
		{"copy", `{from: "*.conf", to: /x}`, "/x must end in a slash: *.conf matches 2 files"},
		{"copy", `{from: out/passwd, to: /x}`, "out/passwd: a link leads out of " + dir},
		{"copy", `{from: [d/, a], to: /x/}`, ""},
		{"script", "none.sh", "none.sh: no such file or directory"},
		{"script", "d", "d: not a file"},
		{"script", "a", ""},
		{"template", "{file: t, to: /x}", `t:1:3: <.x>: map has no entry for key "x"`},
		{"template", "{file: t, to: /x, vars: {x: 1}}", ""},
		{"template", "{file: t, to: /x, vars: {x: '${{ var.y }}'}}", ""},
		{"template", "{file: broken, to: /x}", "broken:1: unclosed action"},
		{"template", "{file: none, to: /x}", "none: no such file or directory"},
		{"local", "{script: a, inputs: [a, none]}", "none: no such file or directory"},
		{"ansible", "{playbook: none.yml, requirements: none2.yml}", "none.yml: no such file or directory; none2.yml: no such file or directory"},
	} {
		p := provisioners.All(provisioners.Deps{})[tt.kind]()
		block := provtest.Block(t, "t", tt.text)
		if ds := templates.Decode(block, p); len(ds) > 0 {
			t.Errorf("%s: %s: %v", tt.kind, tt.text, ds.Err())
			continue
		}
		var got []string
		for _, d := range p.(builder.Checker).Check(dir, block) {
			if !strings.Contains(d.Message, "is not installed") {
				got = append(got, d.Message)
			}
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: %s:\n got %s\nwant %s", tt.kind, tt.text, strings.Join(got, "; "), tt.want)
		}
	}
}

// fingerprint is the digest of a step's files.
func fingerprint(t *testing.T, dir, kind, text string) builder.Digest {
	t.Helper()
	p := provisioners.All(provisioners.Deps{})[kind]()
	if ds := templates.Decode(provtest.Block(t, "t", text), p); len(ds) > 0 {
		t.Fatal(ds.Err())
	}
	sum, err := p.(builder.Fingerprinter).Fingerprint(t.Context(), dir)
	if err != nil {
		t.Fatalf("%s: %s: %v", kind, text, err)
	}
	return sum
}

func TestFingerprintsFollowTheFilesTheyAreOf(t *testing.T) {
	for _, tt := range []struct {
		kind, text, touched string
		differs             bool
	}{
		{"copy", "{from: site, to: /x}", "site/a", true},
		{"copy", "{from: site, to: /x}", "other", false},
		{"copy", "{from: [site, other], to: /x/}", "other", true},
		{"copy", "{from: site, to: /x, exclude: a}", "site/a", false},
		{"script", "run.sh", "run.sh", true},
		{"template", "{file: t, to: /x}", "t", true},
		{"local", "{script: a, inputs: site}", "site/a", true},
		{"local", "a", "site/a", false},
		{"ansible", "play/site.yml", "play/site.yml", true},
		{"ansible", "play/site.yml", "play/roles/r/tasks/main.yml", true},
		{"ansible", "play/site.yml", "play/vars.yml", true},
		{"ansible", "play/site.yml", "site/a", false},
		{"ansible", "{playbook: play/site.yml, inputs: site}", "site/a", true},
	} {
		dir := t.TempDir()
		for _, name := range []string{"site/a", "site/b", "other", "run.sh", "t", "play/site.yml", "play/roles/r/tasks/main.yml", "play/vars.yml"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before := fingerprint(t, dir, tt.kind, tt.text)
		if err := os.WriteFile(filepath.Join(dir, tt.touched), []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
		if after := fingerprint(t, dir, tt.kind, tt.text); (before != after) != tt.differs {
			t.Errorf("%s: %s: when %s changes, the digest differs: %v", tt.kind, tt.text, tt.touched, before != after)
		}
	}
}
