package templates

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A cell is one combination of a matrix's values.
type cell struct {
	keys   []string // in the order in which they become part of the name
	values map[string]any
	suffix string // what the build's name gets: "-arm64-debug"
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._]+`)

// matrix multiplies the lists of a matrix. `exclude` drops combinations;
// `include` adds values to the combinations it agrees with, or, if there are
// none, adds a combination.
func (r *reader) matrix(b Block) []cell {
	before := len(r.diags)
	b = r.now(b, &scope{env: r.env})
	if len(r.diags) > before || b.Unresolved() {
		return nil
	}
	if !b.IsMapping() {
		r.add(b.Errorf("matrix must be a mapping of names to lists, not %s", b.node.what()))
		return nil
	}
	cells := []cell{{values: map[string]any{}}}
	var axes []string
	for _, f := range b.node.fields {
		if f.key.text == "include" || f.key.text == "exclude" {
			continue
		}
		values, ok := r.axis(f, b.with(f.value, f.key.text))
		if !ok {
			return nil
		}
		axes = append(axes, f.key.text)
		if cells = multiply(cells, f.key.text, values); len(cells) > maxBuilds {
			r.add(b.Errorf("the matrix makes more than %d builds", maxBuilds))
			return nil
		}
	}
	if len(axes) == 0 {
		cells = nil
	}
	for _, c := range r.combinations(b, "exclude", axes) {
		cells = slices.DeleteFunc(cells, func(have cell) bool { return have.agrees(c, c.keys) })
	}
	cells = r.includeCells(b, cells, axes)
	if len(cells) == 0 && len(r.diags) == before {
		r.add(b.Errorf("the matrix makes no build"))
	}
	for i := range cells {
		cells[i].name()
		for _, other := range cells {
			for key := range other.values {
				if _, has := cells[i].values[key]; !has {
					cells[i].values[key] = nil // only `include` gives it, and not to this one
				}
			}
		}
	}
	return cells
}

// axis reads one list of values.
func (r *reader) axis(f field, b Block) ([]any, bool) {
	if !variableName.MatchString(f.key.text) {
		d := f.key.diag("%q is not a name for a value of the matrix", shorten(f.key.text))
		d.Hint = "use letters, digits and _, and begin with a letter"
		r.add(d)
		return nil, false
	}
	if !b.IsList() || b.Len() == 0 {
		what := "an empty one"
		if !b.IsList() {
			what = b.node.what()
		}
		r.add(b.Errorf("%q must be a list of values, not %s", f.key.text, what))
		return nil, false
	}
	var values []any
	for i, item := range b.node.items {
		if item.kind != scalarNode {
			r.add(b.item(i).Errorf("a value of the matrix must be a text, number or truth value, not %s", item.what()))
			return nil, false
		}
		values = append(values, item.element())
	}
	return values, true
}

func multiply(cells []cell, key string, values []any) []cell {
	var out []cell
	for _, c := range cells {
		for _, v := range values {
			if len(out) > maxBuilds {
				return out
			}
			out = append(out, c.with(key, v))
		}
	}
	return out
}

// with returns the cell with one more value.
func (c cell) with(key string, v any) cell {
	values := map[string]any{key: v}
	for k, old := range c.values {
		if k != key {
			values[k] = old
		}
	}
	keys := c.keys
	if !slices.Contains(keys, key) {
		keys = append(slices.Clone(keys), key)
	}
	return cell{keys: keys, values: values}
}

// agrees reports whether both cells have the same values under the keys.
func (c cell) agrees(other cell, keys []string) bool {
	for _, k := range keys {
		if c.values[k] != other.values[k] {
			return false
		}
	}
	return true
}

// name makes the suffix of a build's name out of the values.
func (c *cell) name() {
	for _, key := range c.keys {
		text, _ := stringify(c.values[key])
		if text = strings.Trim(notInName.ReplaceAllString(text, "-"), "-"); text != "" {
			c.suffix += "-" + text
		}
	}
}

// includeCells adds what `include` says.
func (r *reader) includeCells(b Block, cells []cell, axes []string) []cell {
	original := len(cells)
	for _, add := range r.combinations(b, "include", nil) {
		var shared []string
		for _, key := range add.keys {
			if slices.Contains(axes, key) {
				shared = append(shared, key)
			}
		}
		found := false
		for i := range cells[:original] {
			if !cells[i].agrees(add, shared) {
				continue
			}
			found = true
			for _, key := range add.keys {
				if !slices.Contains(axes, key) {
					// The added value is no part of the name.
					keys := cells[i].keys
					cells[i] = cells[i].with(key, add.values[key])
					cells[i].keys = keys
				}
			}
		}
		if !found {
			if len(cells) >= maxBuilds {
				r.add(b.At("include").Errorf("the matrix makes more than %d builds", maxBuilds))
				return cells
			}
			cells = append(cells, add)
		}
	}
	return cells
}

// combinations reads `include` or `exclude`: a list of mappings of names to
// values. If names is not nil, only those may be used.
func (r *reader) combinations(b Block, key string, names []string) []cell {
	list := b.At(key)
	if !b.Has(key) || list.IsNull() {
		return nil
	}
	if !list.IsList() {
		r.add(list.Errorf("%q must be a list of mappings, not %s", key, list.node.what()))
		return nil
	}
	var out []cell
	for i, item := range list.node.items {
		if item.kind != mappingNode || len(item.fields) == 0 {
			r.add(list.item(i).Errorf("an element of %q must be a mapping of names to values, not %s", key, emptyOr(list.item(i))))
			continue
		}
		c := cell{values: map[string]any{}}
		for _, f := range item.fields {
			switch {
			case f.value.kind != scalarNode:
				r.add(f.value.diag("a value of the matrix must be a text, number or truth value, not %s", f.value.what()))
			case !variableName.MatchString(f.key.text):
				r.add(f.key.diag("%q is not a name for a value of the matrix", shorten(f.key.text)))
			case names != nil && !slices.Contains(names, f.key.text):
				d := f.key.diag("the matrix has no %q", shorten(f.key.text))
				d.Hint = suggest(f.key.text, names)
				r.add(d)
			default:
				c = c.with(f.key.text, f.value.element())
			}
		}
		if len(c.keys) == len(item.fields) {
			out = append(out, c)
		}
	}
	if len(out) > 4*maxBuilds {
		r.add(list.Errorf("%q has more than %d elements", key, 4*maxBuilds))
		return nil
	}
	return out
}

// multiplied lists the builds that a matrix made out of the build called name.
func multiplied(builds []Build, name string) []string {
	var out []string
	for _, b := range builds {
		if strings.HasPrefix(b.Name, name+"-") {
			out = append(out, fmt.Sprintf("%q", b.Name))
		}
	}
	return out
}
