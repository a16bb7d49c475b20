package provisioners

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"bake/builder"
	"bake/internal/filetree"
	"bake/templates"
)

// readLocal reads a file of this machine that the template names, at most maxText bytes.
func readLocal(dir, name string) ([]byte, error) {
	s, err := filetree.Open(dir, name, filetree.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if len(s.Sources) > 1 || s.Sources[0].Dir {
		return nil, fmt.Errorf("%s: not a file", name)
	}
	for e, err := range s.Walk(s.Sources[0]) {
		if err != nil {
			return nil, err
		}
		f, err := e.Open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		content, err := io.ReadAll(io.LimitReader(f, maxText+1))
		if len(content) > maxText {
			return nil, fmt.Errorf("%s: larger than %s", name, byteCount(maxText))
		}
		return content, err
	}
	return nil, fmt.Errorf("%s: not a file", name)
}

// checkFiles reports, at the key that names them, local files that are not there.
func checkFiles(dir, from string, opts filetree.Options, at templates.Block) templates.Diagnostics {
	if from == "" || at.Unresolved() {
		return nil
	}
	s, err := filetree.Open(dir, from, opts)
	if err != nil {
		return templates.Diagnostics{localDiagnostic(err, at)}
	}
	s.Close()
	return nil
}

// checkFile is checkFiles for keys that take one file.
func checkFile(dir, name string, at templates.Block) templates.Diagnostics {
	if name == "" || at.Unresolved() {
		return nil
	}
	if _, err := readLocal(dir, name); err != nil {
		return templates.Diagnostics{localDiagnostic(err, at)}
	}
	return nil
}

func localDiagnostic(err error, at templates.Block) *templates.Diagnostic {
	d := at.Errorf("%v", err)
	hint, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	switch {
	case ok:
		d.Hint = hint.Hint()
	case errors.Is(err, fs.ErrNotExist):
		d.Hint = "paths are relative to the template's directory"
	}
	return d
}

// checkInputs reports `inputs` that are not there.
func checkInputs(dir string, inputs []string, b templates.Block) (ds templates.Diagnostics) {
	for i, in := range inputs {
		ds = append(ds, checkFiles(dir, in, filetree.Options{}, b.At("inputs", fmt.Sprint(i)))...)
	}
	return ds
}

// digestText is a fingerprint of words.
func digestText(words ...string) builder.Digest {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return builder.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}
