package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A unit is a service as systemd.service(5) describes it: what a service needs
// to be started and stopped. What sandboxes or limits it is left out.
type unit struct {
	name     string              // "nginx.service", "getty@tty1.service"
	settings map[string][]string // "Service.ExecStart"; an empty value has cleared what came before
	sysv     string              // or it is this script of /etc/init.d
}

// unitDirs are where units lie, the first that has one wins.
func unitDirs() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// errNoUnit says that there is no such service.
var errNoUnit = errors.New("unit not found")

// loadUnit reads a service, with what *.d folders add, or finds its sysv script.
func loadUnit(name string) (*unit, error) {
	if !strings.Contains(name, ".") || !strings.HasSuffix(name, ".service") && filepath.Ext(name) != ".target" && filepath.Ext(name) != ".socket" && filepath.Ext(name) != ".timer" {
		name += ".service"
	}
	u := &unit{name: name, settings: map[string][]string{}}
	files := []string{name}
	if prefix, rest, ok := strings.Cut(name, "@"); ok {
		if _, suffix, ok := strings.Cut(rest, "."); ok && rest != "."+suffix {
			files = append(files, prefix+"@."+suffix)
		}
	}
	found := false
	for _, file := range files {
		for _, dir := range unitDirs() {
			path := filepath.Join(dir, file)
			target, _ := filepath.EvalSymlinks(path)
			if target == "/dev/null" {
				return nil, fmt.Errorf("unit %s is masked", name)
			}
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if !found {
				u.read(data)
				found = true
			}
		}
	}
	script := "/etc/init.d/" + strings.TrimSuffix(name, ".service")
	if !found && executable(script) {
		u.sysv = script
		return u, nil
	}
	if !found {
		return nil, fmt.Errorf("%s: %w", name, errNoUnit)
	}
	for _, file := range files {
		for _, dir := range unitDirs() {
			more, _ := filepath.Glob(filepath.Join(dir, file+".d", "*.conf")) // the pattern is well-formed
			for _, path := range more {
				if data, err := os.ReadFile(path); err == nil {
					u.read(data)
				}
			}
		}
	}
	return u, nil
}

// read takes the settings of one file.
func (u *unit) read(data []byte) {
	section := ""
	text := strings.ReplaceAll(string(data), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				continue
			}
			key = section + "." + strings.TrimSpace(key)
			if value = strings.TrimSpace(value); value == "" {
				delete(u.settings, key)
			} else {
				u.settings[key] = append(u.settings[key], value)
			}
		}
	}
}

// get is the last value of a setting, "" if there is none.
func (u *unit) get(key string) string {
	all := u.settings[key]
	if len(all) == 0 {
		return ""
	}
	return u.expand(all[len(all)-1])
}

// words are all the words of a setting that is a list.
func (u *unit) words(key string) []string {
	var all []string
	for _, v := range u.settings[key] {
		all = append(all, strings.Fields(u.expand(v))...)
	}
	return all
}

// isTrue reads a boolean.
func (u *unit) isTrue(key string) bool {
	return slices.Contains([]string{"1", "yes", "true", "on"}, strings.ToLower(u.get(key)))
}

// expand replaces the specifiers of systemd.unit(5).
func (u *unit) expand(text string) string {
	base := strings.TrimSuffix(u.name, filepath.Ext(u.name))
	prefix, instance, _ := strings.Cut(base, "@")
	host, _ := os.Hostname() // an empty name is all that could be said
	return strings.NewReplacer("%%", "%", "%n", u.name, "%N", base, "%p", prefix, "%P", prefix, "%i", instance, "%I", strings.ReplaceAll(instance, "-", "/"),
		"%H", host, "%t", "/run", "%S", "/var/lib", "%C", "/var/cache", "%L", "/var/log", "%E", "/etc", "%T", "/tmp", "%u", "root", "%U", "0", "%h", "/root").Replace(text)
}

// A line is a command of a unit.
type line struct {
	argv     []string
	optional bool // its failure does not matter
}

// commands reads a setting whose values are command lines (systemd.service(5)).
func (u *unit) commands(key string, env []string) []line {
	var all []line
	for _, v := range u.settings[key] {
		l := line{}
		renamed := false
		for v != "" && strings.ContainsRune("-@:+!", rune(v[0])) {
			l.optional = l.optional || v[0] == '-'
			renamed = renamed || v[0] == '@'
			v = v[1:]
		}
		for _, w := range split(v) {
			l.argv = append(l.argv, u.variables(w, env)...)
		}
		if renamed && len(l.argv) > 1 { // the second word is what the program sees as its name
			l.argv = append(l.argv[:1], l.argv[2:]...)
		}
		if len(l.argv) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// variables expands a word: one that is $NAME becomes several.
func (u *unit) variables(word string, env []string) []string {
	value := func(name string) string {
		for i := len(env) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(env[i], name+"="); ok {
				return v
			}
		}
		return ""
	}
	word = u.expand(word)
	if name, ok := strings.CutPrefix(word, "$"); ok && name != "" && !strings.ContainsAny(name, "{}$/") {
		return strings.Fields(value(name))
	}
	return []string{os.Expand(word, func(name string) string {
		if name == "$" {
			return "$"
		}
		return value(name)
	})}
}

// split takes a command line apart: quotes join words, a backslash protects.
func split(text string) []string {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text) && quote != '\'':
			i++
			word.WriteByte(text[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// environment is what Environment= and EnvironmentFile= say.
func (u *unit) environment() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	for _, v := range u.settings["Service.Environment"] {
		env = append(env, split(u.expand(v))...)
	}
	for _, v := range u.settings["Service.EnvironmentFile"] {
		data, err := os.ReadFile(strings.TrimPrefix(u.expand(v), "-"))
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(data)) {
			l = strings.TrimSpace(l)
			if name, value, ok := strings.Cut(l, "="); ok && l[0] != '#' && l[0] != ';' {
				env = append(env, name+"="+strings.Trim(value, `"'`))
			}
		}
	}
	return env
}
