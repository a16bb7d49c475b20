package builder

import (
	"crypto/sha256"
	"fmt"
)

// digest is the content address of a tagged list of plain values. %q keeps
// neighbours apart: ("ab","c") is not ("a","bc").
func digest(tag string, parts ...any) Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%q", "bake "+tag)
	for _, p := range parts {
		fmt.Fprintf(h, " %q", fmt.Sprint(p))
	}
	return Digest(fmt.Sprintf("sha256:%x", h.Sum(nil)))
}
