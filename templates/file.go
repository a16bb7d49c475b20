package templates

import (
	"path/filepath"
)

// File reads another file, YAML or JSON, that a block names: the block's text
// is its path, relative to the template. What stands in it has places of its
// own, and its expressions may name what those of the template may; those that
// the block's environment knows are resolved. final means that nothing may be
// left unresolved.
func (b Block) File(final bool) (Block, Diagnostics) {
	name, ok := b.Text()
	if !ok || name == "" {
		return Block{}, Diagnostics{b.Errorf("%s must be the path of a file", b.name())}
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.Dir(), path)
	}
	data, err := readFile(path)
	if err != nil {
		return Block{}, Diagnostics{b.Errorf("reading %q: %s", name, err)}
	}
	return readBlock(name, data, b.env, final)
}

// ReadBlock reads YAML or JSON text that belongs to no template, and has no
// expressions that name anything; name is what diagnostics call it.
func ReadBlock(name string, data []byte) (Block, Diagnostics) {
	return readBlock(name, data, nil, false)
}

func readBlock(name string, data []byte, env *Env, final bool) (Block, Diagnostics) {
	n, diags := loadYAML(name, data)
	if n == nil || len(diags) > 0 {
		return Block{}, diags
	}
	b := Block{node: n, file: name, env: env}
	if env == nil {
		return b, nil
	}
	return b.Resolve(env, final)
}
