package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"bake/builder"
	"bake/steps/amazon"
)

// An app is what every command works with: where it reads and writes, and the
// flags that mean the same everywhere.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time
	// journal decorates the journal of every run; tests crash in it.
	journal func(builder.Journal) builder.Journal

	notices *atomic.Pointer[func(string)] // how the run that goes on tells what the user should know; nil or empty: there is none
	asker   *asker                        // nil: there is nobody to ask

	flags flags
}

// flags are the flags that several commands share.
type flags struct {
	vars     []string
	varFiles []string
	only     []string
	parallel int
	onError  string
	failFast bool
	noCache  bool
	engine   string
	output   string
	yes      bool
	sandbox  string        // where calls to AWS go; empty: AWS
	aws      amazon.Access // of commands that call AWS without a template
}

// Main runs the command and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, environ: os.Environ(), now: time.Now,
		asker: newAsker(stdin, stderr), notices: new(atomic.Pointer[func(string)]),
		journal: func(j builder.Journal) builder.Journal { return j }}
	return a.main(args)
}

func (a *app) main(args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return exitCode(root.ExecuteContext(context.Background()), a.stderr, a.color())
}

// getenv reads one variable of the environment the app was given.
func (a *app) getenv(name string) string {
	for _, kv := range a.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// color reports whether diagnostics on stderr may have colour.
func (a *app) color() bool {
	return a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb" && isTerminal(a.stderr)
}

const help = `bake turns a YAML template into images: a source, steps that run inside it,
tests, and outputs.

  bake web.yaml                          build what the template says
  bake web.yaml --var version=1.4.2      with a variable
  bake plan web.yaml                     what would be done, without doing it
  bake init                              write a first template`

const exitCodes = `
Exit codes:
  0    done, or nothing to do
  1    the run failed
  2    the template or the command line is wrong
  3    done, but something was left behind or a deployment was rolled back
  4    plan --detailed or ecs diff found something to do
  130  interrupted`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bake TEMPLATE...",
		Short: "Build machine and container images from YAML templates",
		Long:  help,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return a.buildAll(cmd.Context(), args)
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetUsageTemplate(strings.TrimRight(root.UsageTemplate(), "\n") + "\n" + exitCodes + "\n")
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	a.buildFlags(root)
	a.sandboxFlag(root)
	root.AddCommand(
		a.buildCommand(), a.validateCommand(), a.planCommand(), a.resumeCommand(), a.cleanCommand(),
		a.runsCommand(), a.logsCommand(), a.reportCommand(), a.initCommand(), a.schemaCommand(),
		a.imagesCommand(), a.destroyCommand(), a.policyCommand(), a.releaseCommand(), a.keypairCommand(), a.sshCommand(),
		a.ecsCommand(), a.sandboxCommand(), a.versionCommand())
	return root
}

// templateFlags are the flags of every command that reads a template.
func (a *app) templateFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&a.flags.vars, "var", nil, "set a variable: `NAME=VALUE` (repeatable; wins over --var-file and BAKE_VAR_NAME)")
	f.StringArrayVar(&a.flags.varFiles, "var-file", nil, "read variables from a YAML or .env `FILE` (repeatable)")
	f.StringSliceVar(&a.flags.only, "only", nil, "only these `BUILDS`, and those they need")
}

// engineFlags are the flags of every command that needs a container engine.
func (a *app) engineFlags(cmd *cobra.Command) {
	choiceFlag(cmd, &a.flags.engine, "engine", "", "auto|docker|embedded", "container engine; auto takes Docker if one answers")
}

// outputFlag is the choice of how a command tells what it does.
func (a *app) outputFlag(cmd *cobra.Command, forms string) {
	choiceFlag(cmd, &a.flags.output, "output", "o", forms, "how it is told")
}

// onErrorFlag is what becomes of a machine on which a step failed.
func (a *app) onErrorFlag(cmd *cobra.Command) {
	choiceFlag(cmd, &a.flags.onError, "on-error", "", "clean|keep|ask", "when a step fails: clean up, keep its machine for a look inside, or ask")
}

func (a *app) buildFlags(cmd *cobra.Command) {
	a.templateFlags(cmd)
	a.engineFlags(cmd)
	a.outputFlag(cmd, "text|plain|json|github")
	f := cmd.Flags()
	f.IntVar(&a.flags.parallel, "parallel", 0, "at most `N` builds at once; 0: as this machine allows")
	a.onErrorFlag(cmd)
	f.BoolVar(&a.flags.failFast, "fail-fast", false, "the first failure stops all builds")
	f.BoolVar(&a.flags.noCache, "no-cache", false, "run every step, whatever is in the cache")
	f.BoolVarP(&a.flags.yes, "yes", "y", false, "answer yes to every question")
}

// printJSON writes a command's result for other programs.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// when is a time as lists show it; empty if it is not known.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}
