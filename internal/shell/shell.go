// Package shell writes what a remote POSIX shell reads: quoted words, and the
// loader that lets a script travel on the input stream.
package shell

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Quote returns s as one word of a POSIX shell.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=@%+,", r))
}

// Join quotes each word and puts spaces between them.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}

// exports returns the lines of a POSIX shell that set and export env, sorted by name.
func exports(env map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", k, Quote(env[k]))
	}
	return b.String()
}
