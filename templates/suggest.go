package templates

import (
	"fmt"
	"slices"
	"strings"
)

// suggest returns a hint for an unknown word: the nearest known one, or, if
// none is near, all of them.
func suggest(word string, known []string) string {
	for _, k := range known {
		if strings.HasPrefix(word, k+" ") { // source {image: ...}
			return fmt.Sprintf("is a colon missing after %q?", k)
		}
	}
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	const most = 30
	if len(known) == 0 || len(known) > most {
		return ""
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(known)))
	return "known here: " + strings.Join(sorted, ", ")
}

// Nearest returns the known word that the fewest edits make out of word, if
// they are few for its length.
func Nearest(word string, known []string) string {
	const longest = 64
	if len(word) > longest {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if strings.EqualFold(word, k) {
			return k
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour that make b out of a (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
