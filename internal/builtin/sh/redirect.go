package sh

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// The interpreter redirects descriptors 0, 1 and 2 only. What a script does
// with others is rewritten before it runs: `cmd 3>f` becomes
//
//	{ descriptor push 3 > f; cmd; descriptor pop; }
//
// where descriptor is a command of the executor that works on the process's
// own descriptors, and `>&3` becomes `>/dev/fd/3`, which opening understands.

// descriptor is the name of that command. A script cannot say it by accident.
const descriptor = ":bake-descriptor"

// rewrite changes the redirections of all statements below node, and the
// escapes in words that the interpreter takes as they stand.
func rewrite(node syntax.Node) {
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			outlive(n)
			rewriteStmt(n)
		case *syntax.Assign:
			n.Value = unescape(n.Value)
		case *syntax.Redirect:
			n.Word = unescape(n.Word)
		case *syntax.CaseClause:
			n.Word = unescape(n.Word)
		}
		return true
	})
}

// unescape turns escaped characters into quoted ones. Where words are not split
// into fields the interpreter (v3.14.1) leaves backslashes in them: `a=b\ c`
// and `>b\ c` would keep theirs.
func unescape(w *syntax.Word) *syntax.Word {
	if w == nil {
		return nil
	}
	var parts []syntax.WordPart
	for _, part := range w.Parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			parts = append(parts, part)
			continue
		}
		text := lit.Value
		for {
			before, after, found := strings.Cut(text, `\`)
			if !found || after == "" {
				break
			}
			if before != "" {
				parts = append(parts, &syntax.Lit{Value: before})
			}
			_, size := utf8.DecodeRuneInString(after)
			parts = append(parts, quoted(after[:size]))
			text = after[size:]
		}
		if text != "" {
			parts = append(parts, &syntax.Lit{Value: text})
		}
	}
	return &syntax.Word{Parts: parts}
}

// quoted is a character that means itself.
func quoted(s string) syntax.WordPart {
	if s == "'" {
		return &syntax.DblQuoted{Parts: []syntax.WordPart{&syntax.Lit{Value: s}}}
	}
	return &syntax.SglQuoted{Value: s}
}

func rewriteStmt(stmt *syntax.Stmt) {
	var kept []*syntax.Redirect
	for i, rd := range stmt.Redirs {
		if number(rd) < 3 {
			if plain(rd) {
				kept = append(kept, rd)
			}
			continue
		}
		rest := &syntax.Stmt{Cmd: stmt.Cmd, Redirs: stmt.Redirs[i+1:]}
		if isBareExec(stmt.Cmd) {
			stmt.Cmd = block(&syntax.Stmt{Cmd: stmt.Cmd, Redirs: kept}, call("set", rd), rest)
			stmt.Redirs = nil
		} else {
			stmt.Cmd = block(call("push", rd), rest, call("pop", rd))
			stmt.Redirs = kept
		}
		return // Walk comes to rest as well
	}
	stmt.Redirs = kept
}

// number is the descriptor that a redirection changes; 0 for the usual ones.
func number(rd *syntax.Redirect) int {
	if rd.N == nil || len(rd.N.Value) != 1 || rd.N.Value[0] < '3' || rd.N.Value[0] > '9' {
		return 0
	}
	return int(rd.N.Value[0] - '0')
}

// plain turns a redirection from another descriptor into one from /dev/fd; it
// reports false for one that does nothing.
func plain(rd *syntax.Redirect) bool {
	from := rd.Word.Lit()
	if rd.Op != syntax.DplIn && rd.Op != syntax.DplOut || len(from) != 1 || from[0] < '0' || from[0] > '9' {
		return true
	}
	onto := ""
	if rd.N != nil {
		onto = rd.N.Value
	}
	if from == "0" && rd.Op == syntax.DplIn && (onto == "" || onto == "0") {
		return false
	}
	if from >= "3" {
		rd.Op = map[syntax.RedirOperator]syntax.RedirOperator{syntax.DplIn: syntax.RdrIn, syntax.DplOut: syntax.RdrOut}[rd.Op]
		rd.Word = word("/dev/fd/" + from)
	}
	return true
}

func isBareExec(cmd syntax.Command) bool {
	c, ok := cmd.(*syntax.CallExpr)
	return ok && len(c.Args) == 1 && c.Args[0].Lit() == "exec"
}

// call is the descriptor command for a redirection.
func call(what string, rd *syntax.Redirect) *syntax.Stmt {
	args := []*syntax.Word{word(descriptor), word(what), word(rd.N.Value)}
	if what != "pop" {
		target := rd.Word
		if rd.Hdoc != nil { // its text, expanded as in double quotes
			target = &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Parts: rd.Hdoc.Parts}}}
		}
		args = append(args, word(rd.Op.String()), target)
	}
	return &syntax.Stmt{Cmd: &syntax.CallExpr{Args: args}}
}

func word(s string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Value: s}}}
}

func block(stmts ...*syntax.Stmt) *syntax.Block { return &syntax.Block{Stmts: stmts} }

// unusual finds text that may have something to rewrite.
var unusual = regexp.MustCompile(`\\|[3-9][<>]|[<>]&\s*[03-9]`)

// rewriteText does the same to the text of an eval; text that is none stays.
func rewriteText(text string) string {
	if !unusual.MatchString(text) {
		return text
	}
	file, err := parser().Parse(strings.NewReader(text), "")
	if err != nil {
		return text
	}
	rewrite(file)
	var b strings.Builder
	if err := syntax.NewPrinter().Print(&b, file); err != nil {
		return text
	}
	return b.String()
}
