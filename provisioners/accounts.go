package provisioners

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An accountTable is /etc/passwd, group, shadow or gshadow: lines of fields
// separated by colons. Comments and NIS lines are kept as they are.
type accountTable struct{ rows [][]string }

func parseAccounts(content []byte) *accountTable {
	t := &accountTable{}
	for line := range strings.Lines(string(content)) {
		t.rows = append(t.rows, strings.Split(strings.TrimSuffix(line, "\n"), ":"))
	}
	return t
}

func (t *accountTable) bytes() []byte {
	var b strings.Builder
	for _, row := range t.rows {
		b.WriteString(strings.Join(row, ":"))
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// row returns the index of the line that begins with name, or -1.
func (t *accountTable) row(name string) int {
	return slices.IndexFunc(t.rows, func(row []string) bool { return row[0] == name && len(row) > 2 })
}

// field returns a field, empty if the line is too short.
func (t *accountTable) field(row, i int) string {
	if i >= len(t.rows[row]) {
		return ""
	}
	return t.rows[row][i]
}

func (t *accountTable) number(row, i int) (int, error) {
	n, err := strconv.Atoi(t.field(row, i))
	if err != nil {
		return 0, fmt.Errorf("field %d is %q, not a number", i+1, t.field(row, i))
	}
	return n, nil
}

// set changes a field and reports whether that was a change.
func (t *accountTable) set(row, i int, value string) bool {
	if i >= len(t.rows[row]) || t.rows[row][i] == value {
		return false
	}
	t.rows[row][i] = value
	return true
}

// add appends a line.
func (t *accountTable) add(fields ...string) { t.rows = append(t.rows, fields) }

// drop removes the line of name and reports whether there was one.
func (t *accountTable) drop(name string) bool {
	i := t.row(name)
	if i >= 0 {
		t.rows = slices.Delete(t.rows, i, i+1)
	}
	return i >= 0
}

// member puts name into the list in a line's last field, or takes it out, and
// reports whether that was a change.
func (t *accountTable) member(row int, name string, in bool) bool {
	last := len(t.rows[row]) - 1
	members := strings.FieldsFunc(t.rows[row][last], func(r rune) bool { return r == ',' })
	i := slices.Index(members, name)
	switch {
	case in && i < 0:
		members = append(members, name)
	case !in && i >= 0:
		members = slices.Delete(members, i, i+1)
	default:
		return false
	}
	t.rows[row][last] = strings.Join(members, ",")
	return true
}

// holder returns the name of the line whose third field is id; empty if none is.
func (t *accountTable) holder(id int) string {
	for i := range t.rows {
		if n, err := t.number(i, 2); err == nil && n == id {
			return t.rows[i][0]
		}
	}
	return ""
}

// freeID returns an id that no table has as its third field: for the system the
// highest below 1000, as useradd does, else the lowest from 1000 on.
func freeID(system bool, tables ...*accountTable) (int, error) {
	taken := map[int]bool{}
	for _, t := range tables {
		for i := range t.rows {
			if n, err := t.number(i, 2); err == nil {
				taken[n] = true
			}
		}
	}
	if system {
		for id := 999; id >= 100; id-- {
			if !taken[id] {
				return id, nil
			}
		}
		return 0, fmt.Errorf("no id from 100 to 999 is free")
	}
	for id := 1000; id <= 60000; id++ {
		if !taken[id] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no id from 1000 to 60000 is free")
}
