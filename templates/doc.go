// Package templates reads bake templates: YAML in, a typed tree with positions
// out, every mistake as a Diagnostic with its place. It knows the language, not
// the kinds of sources, steps and outputs: those come in as a Language, a struct
// for each kind whose tags say which keys it takes (see [Decode]).
//
// # The language
//
// A template has one build (name, description, variables, source, steps, tests,
// config, outputs, squash, matrix) or several (`builds:` maps names to builds,
// and `source: {build: base}` starts one from another).
//
// A source, step or output is a mapping with exactly one kind as a key. Beside
// the kind stand the keys that all of its sort share; for steps: name, if, env,
// user, workdir, timeout, retries, retry_delay, on_error and cache. A scalar or
// list under a kind is the short form of its main key. In a list of steps,
// `include: file.yaml` stands for the steps of that file, which names what
// `with:` hands it as with.NAME.
//
// `matrix:` multiplies a build: web with {arch: [amd64, arm64]} becomes
// web-amd64 and web-arm64. `exclude` drops combinations; `include` adds values
// to the combinations it agrees with, or a combination if there is none.
//
// A variable's value is the last of: default, file, env, BAKE_VAR_name in the
// environment, --var-file, --var. Numbers are text unless the variable says
// `type: number`: 1.10 is a version.
//
// # Expressions
//
// ${{ ... }} holds an expression of github.com/expr-lang/expr without let, with
// the names var.*, env.*, matrix.*, with.*, run.id, run.timestamp, git.sha,
// git.branch, git.tag, source.* (in steps, tests, config and outputs) and
// outputs.KIND.* (in later outputs). A value that is one expression and nothing
// else keeps the expression's type. $${{ is a literal ${{.
//
// Parse works out what it can. What names a sensitive variable, source.* or
// outputs.* keeps its text, with everything else in it filled in, until
// [Block.Resolve] is called with an [Env] that knows it. So no secret gets into
// what Parse returns, except through env.*: a secret from the environment
// belongs into a variable with `env` and `sensitive`.
//
// # How it is read
//
// load.go turns YAML into nodes without aliases, interpolate.go finds the
// expressions, parse.go and the files named after parts of a template build the
// Template, resolve.go and evaluate.go work out expressions, decode.go fills
// structs. limits.go lists what bounds all this: a template may be hostile.
package templates
