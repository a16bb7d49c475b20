package builder

import "bake/templates"

// Language returns the vocabulary that the catalog gives to templates.
func (c Catalog) Language() templates.Language {
	l := templates.Language{Sources: map[string]any{}, Steps: map[string]any{}, Outputs: map[string]any{}}
	for kind, make := range c.Sources {
		l.Sources[kind] = make()
	}
	for kind, make := range c.Provisioners {
		l.Steps[kind] = make()
	}
	for kind, make := range c.Outputs {
		l.Outputs[kind] = make()
	}
	return l
}

// decode makes the value that serves a block and fills it.
func decode[T any](kinds map[string]func() T, kind string, b templates.Block) (T, templates.Diagnostics) {
	make, ok := kinds[kind]
	if !ok {
		var zero T
		return zero, templates.Diagnostics{b.Errorf("unknown kind %q", kind)}
	}
	v := make()
	return v, templates.Decode(b, v)
}

func version(v any) int {
	if v, ok := v.(Versioned); ok {
		return v.Version()
	}
	return 1
}
