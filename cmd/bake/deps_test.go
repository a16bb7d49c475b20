package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bake/internal/need"
)

// mayImport is the dependency rule among bake's own packages. The first prefix
// that fits a package says what it may import; "*" is all below a folder.
var mayImport = []struct {
	pkg     string
	imports []string
}{
	{"templates", nil},
	{"templates/*", nil},
	{"builder", []string{"templates"}},
	{"builder/*", []string{"builder", "builder/journal", "templates", "internal/*"}},
	{"provisioners", []string{"builder", "templates", "internal/*"}},
	{"provisioners/*", []string{"builder", "builder/buildertest", "templates", "provisioners", "internal/*"}},
	{"steps", []string{"builder", "templates", "steps/*", "internal/*"}},
	// AWS's machines are reached over SSH: the communicator is a library to them.
	{"steps/amazon/*", []string{"builder", "builder/buildertest", "templates", "steps/amazon", "steps/amazon/*", "steps/ssh", "internal/*"}},
	{"steps/*", []string{"builder", "builder/buildertest", "templates", "internal/*"}},
	{"internal/*", []string{"builder", "templates", "templates/*", "internal/*"}},
	{"cmd/bake", []string{"builder", "builder/*", "provisioners", "steps", "steps/*", "templates", "templates/*", "internal/*"}},
}

// onlyIn says which packages may import a dependency that shall not spread.
var onlyIn = map[string][]string{
	"github.com/docker/docker/": {"steps/docker", "internal/dockertest"},
	"github.com/aws/":           {"steps/amazon", "internal/sandbox"},
	// cloud-config is YAML of any shape, which machines of the sandbox read.
	"gopkg.in/yaml.v3":            {"templates", "provisioners/provtest", "internal/sandbox/machine/cloudinit"},
	"github.com/expr-lang/expr":   {"templates"},
	"github.com/spf13/cobra":      {"cmd/bake"},
	"github.com/stretchr/testify": nil,
}

// inits are the init functions that there are, with the reason.
var inits = map[string]string{
	"internal/sandbox/machine/guest/start_linux.go": "the first program of a sandbox's machine is a copy of this process, or of a test's",
	"internal/rootfs/inside/start_linux.go":         "pid 1 of a root is a copy of this process; it must not run main, nor a test's main",
}

// topLevel is what may lie in the repository's root.
var topLevel = []string{"cmd", "builder", "steps", "provisioners", "templates", "testdata", "internal", ".ci",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", ".gitignore"}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "bake/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], "bake/")
		for _, imp := range words[1:] {
			if own, ok := strings.CutPrefix(imp, "bake/"); ok && !allowed(pkg, own) {
				t.Errorf("%s must not import %s", pkg, own)
			}
			for prefix, homes := range onlyIn {
				if strings.HasPrefix(imp, prefix) && !slices.ContainsFunc(homes, func(h string) bool { return pkg == h || strings.HasPrefix(pkg, h+"/") }) {
					t.Errorf("%s imports %s, only %v may", pkg, imp, homes)
				}
			}
		}
	}
}

func allowed(pkg, imp string) bool {
	// What lies below a package is part of it.
	if strings.HasPrefix(imp, pkg+"/") {
		return true
	}
	for _, rule := range mayImport {
		if !fits(rule.pkg, pkg) {
			continue
		}
		// A package of steps may use its own subpackages' parent, not its neighbours.
		return slices.ContainsFunc(rule.imports, func(p string) bool { return fits(p, imp) }) ||
			strings.HasPrefix(pkg, imp+"/") && imp != "steps"
	}
	return false
}

func fits(pattern, pkg string) bool {
	folder, below := strings.CutSuffix(pattern, "*")
	if below {
		return strings.HasPrefix(pkg, folder)
	}
	return pattern == pkg
}

func TestTheRuleItselfForbids(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		want     bool
	}{
		{"templates", "builder", false},
		{"templates", "internal/shell", false},
		{"builder", "templates", true},
		{"builder", "internal/shell", false},
		{"steps/docker", "steps/oci", false},
		{"steps/docker", "builder", true},
		{"steps/docker", "provisioners", false},
		{"provisioners", "steps/docker", false},
		{"steps", "steps/docker", true},
		{"internal/rootfs", "steps/oci", false},
		{"cmd/bake", "steps", true},
		{"builder", "cmd/bake", false},
		{"unknown", "builder", false},
	} {
		if got := allowed(c.pkg, c.imp); got != c.want {
			t.Errorf("allowed(%s, %s) = %v", c.pkg, c.imp, got)
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && inits[name] == "" {
				t.Errorf("%s has an init function: make it a value that wire.go uses", name)
			}
		}
	}
}

func TestNoPathOfOneMachine(t *testing.T) {
	// Written apart, so that this file does not fit itself.
	path := regexp.MustCompile(`/root/` + `(wt|go)\b|/work/` + `(main|shared)\b|/Users/` + `[a-z]`)
	for _, name := range tracked(t) {
		data, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		if m := path.Find(data); m != nil {
			t.Errorf("%s names a path of one machine: %s", name, m)
		}
	}
}

func TestTheRootHoldsOnlyWhatIsAgreed(t *testing.T) {
	for _, name := range tracked(t) {
		if top, _, _ := strings.Cut(name, "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s: %s has no place in the repository's root", name, top)
		}
	}
}

// repository is the root of the checkout, from where this package's tests run.
const repository = "../.."

// tracked lists the files of the repository that exist.
func tracked(t *testing.T) []string {
	t.Helper()
	git := need.Tool(t, "git")
	// A checkout of another user's is fine to read.
	out, err := exec.Command(git, "-c", "safe.directory=*", "-C", repository, "ls-files", "-z").Output()
	if err != nil {
		need.Missing(t, "not a git checkout: %v", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.Trim(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(repository, name)); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names
}

// TestStartingIsCheap counts what a process allocates before main, which every
// command pays, and every step of the embedded engine: expressions compiled,
// tables built. Below 4 MiB the garbage collector does not run either.
func TestStartingIsCheap(t *testing.T) {
	t.Parallel()
	bin, err := staticBake()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) bytes, \d+ allocs$`)
	total, dearest := 0, map[string]int{}
	for _, m := range line.FindAllStringSubmatch(trace.String(), -1) {
		n, _ := strconv.Atoi(m[2])
		total += n
		if n > 200_000 {
			dearest[m[1]] = n
		}
	}
	if total == 0 {
		t.Fatalf("no trace of inits:\n%s", trace.String())
	}
	if total > 3_200_000 {
		t.Errorf("packages allocate %d bytes before main, want at most 3,200,000; the dearest: %v", total, dearest)
	}
}
