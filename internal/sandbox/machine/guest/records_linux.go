package guest

import (
	"os"
	"strconv"
	"strings"
)

// records is a file like /etc/passwd.
type records struct {
	path  string
	mode  os.FileMode
	lines [][]string
}

func table(path string) (*records, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &records{path: path, mode: st.Mode().Perm()}
	for line := range strings.Lines(string(data)) {
		r.lines = append(r.lines, strings.Split(strings.TrimRight(line, "\n"), ":"))
	}
	return r, nil
}

// find returns the record of a name, which may be changed in place; nil if there is none.
func (r *records) find(name string) []string {
	for _, f := range r.lines {
		if len(f) >= 3 && f[0] == name {
			return f
		}
	}
	return nil
}

func (r *records) add(fields ...string) { r.lines = append(r.lines, fields) }

func (r *records) write() error {
	var text strings.Builder
	for _, f := range r.lines {
		text.WriteString(strings.Join(f, ":") + "\n")
	}
	return os.WriteFile(r.path, []byte(text.String()), r.mode)
}

// freeID returns a number from first on that none of the tables has as its third field.
func freeID(first int, tables ...*records) string {
	used := map[string]bool{}
	for _, t := range tables {
		for _, f := range t.lines {
			if len(f) >= 3 {
				used[f[2]] = true
			}
		}
	}
	for n := first; ; n++ {
		if id := strconv.Itoa(n); !used[id] {
			return id
		}
	}
}
