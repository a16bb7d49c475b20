package templates

import (
	"time"
)

// stepDoc is the keys that stand beside a step's kind.
type stepDoc struct {
	Name       string            `yaml:"name" doc:"what the step is called in the display"`
	If         Block             `yaml:"if" doc:"an expression; the step is left out if it is false"`
	Env        map[string]string `yaml:"env" doc:"environment variables of what the step runs"`
	User       string            `yaml:"user" doc:"who the step runs as: user, or user:group, by name or number"`
	Workdir    string            `yaml:"workdir" doc:"the directory the step runs in"`
	Timeout    time.Duration     `yaml:"timeout" min:"0s" doc:"how long one attempt may take"`
	Retries    int               `yaml:"retries" min:"0" max:"100" doc:"how often the step is tried again when it fails"`
	RetryDelay time.Duration     `yaml:"retry_delay" min:"0s" doc:"how long to wait before that"`
	OnError    string            `yaml:"on_error" enum:"fail|continue" default:"fail" doc:"what happens when the step fails for good"`
	Cache      cacheDoc          `yaml:"cache" doc:"false: always run the step; {expires: 24h}: run it again when its result is older"`
}

// cacheDoc reads `cache: false` and `cache: {expires: 24h}`.
type cacheDoc struct{ Cache }

// UnmarshalBlock implements Unmarshaler.
func (c *cacheDoc) UnmarshalBlock(b Block) Diagnostics {
	if b.IsMapping() {
		var doc struct {
			Expires time.Duration `yaml:"expires" bake:"required" min:"1s" doc:"how long the result may be reused, like 24h"`
		}
		diags := Decode(b, &doc)
		c.Expires = doc.Expires
		return diags
	}
	on, is := b.node.boolean()
	if !is {
		d := b.Errorf(`"cache" must be true, false or a mapping, not %s`, b.node.what())
		d.Hint = "write cache: false, or cache: {expires: 24h}"
		return Diagnostics{d}
	}
	c.Never = !on
	return nil
}

// JSONSchema describes the key to editors.
func (c *cacheDoc) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "boolean"},
		map[string]any{"type": "object", "additionalProperties": false, "required": []any{"expires"},
			"properties": map[string]any{"expires": durationSchema()}},
		expressionSchema(),
	}}
}

// stepList reads `steps` or `tests`.
func (r *reader) stepList(b Block, s *scope) []Step {
	if b.IsZero() || b.IsNull() {
		return nil
	}
	if !b.IsList() {
		d := b.Errorf("%s must be a list of steps, not %s", b.label, b.node.what())
		if b.IsMapping() {
			d.Hint = "begin each step with a dash: - run: ..."
		}
		r.add(d)
		return nil
	}
	return r.entries(b, s, including{applies: true})
}

// entries reads the steps of a list, with what it includes in its place.
func (r *reader) entries(b Block, s *scope, from including) []Step {
	var out []Step
	for i := range b.node.items {
		if r.steps++; r.steps > maxSteps {
			r.add(b.item(i).Errorf("the template has more than %d steps", maxSteps))
			return out
		}
		if item := b.item(i); item.Has("include") {
			out = append(out, r.include(item, s, from)...)
		} else if step, ok := r.step(item, s, from); ok {
			out = append(out, step)
		}
	}
	return out
}

// step reads one step. It is false if the step is left out, or wrong.
func (r *reader) step(b Block, s *scope, from including) (Step, bool) {
	entry, ok := r.entry(b, "step", r.lang.Steps, typeOf[stepDoc]())
	if !ok {
		return Step{}, false
	}
	var doc stepDoc
	applies, late := r.condition(entry.shared.At("if").orZero(entry.shared, "if"), s)
	applies = applies && from.applies
	here := s
	if !applies {
		dry := *s
		dry.dry = true
		here = &dry
	}
	shared := r.shared(entry.shared, here)
	if applies {
		r.mustKnow(shared, "name", "user", "workdir", "timeout", "retries", "retry_delay", "on_error", "cache")
	}
	r.add(Decode(shared, &doc)...)
	step := Step{
		Kind:    Kind{Kind: entry.kind, Name: doc.Name, If: both(from.late, late), Pos: b.with(entry.key, "").Pos()},
		Env:     r.stepEnv(shared, doc.Env),
		User:    doc.User,
		Workdir: doc.Workdir, Timeout: doc.Timeout, Retries: doc.Retries, RetryDelay: doc.RetryDelay,
		Continue: doc.OnError == "continue", Cache: doc.Cache.Cache,
	}
	step.Body = r.body(b.with(entry.value, entry.kind), entry.proto, s, applies)
	return step, applies
}

// orZero returns the zero block if above has no key.
func (b Block) orZero(above Block, key string) Block {
	if !above.Has(key) {
		return Block{}
	}
	return b
}

// mustKnow reports keys that hold expressions which wait for the run.
func (r *reader) mustKnow(b Block, keys ...string) {
	if r.incomplete() {
		return
	}
	for _, key := range keys {
		if below := b.At(key); b.Has(key) && below.Unresolved() {
			d := below.Errorf("%q has to be known before the run", key)
			d.Hint = "it cannot name source.*, outputs.* or a sensitive variable"
			r.add(d)
		}
	}
}

// stepEnv returns the environment with values as a template has them, so that
// ResolveString can finish them.
func (r *reader) stepEnv(b Block, decoded map[string]string) map[string]string {
	if len(decoded) == 0 {
		return nil
	}
	out := make(map[string]string, len(decoded))
	for _, f := range b.At("env").node.fields {
		if !environmentName.MatchString(f.key.text) {
			r.add(f.key.diag("%q is not a name for an environment variable", shorten(f.key.text)))
		}
		if f.value.kind == scalarNode {
			out[f.key.text] = f.value.template()
		} else {
			out[f.key.text] = ""
		}
	}
	return out
}

// both joins two conditions.
func both(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return "(" + a + ") && (" + b + ")"
}
