package sh

import (
	"mvdan.cc/sh/v3/syntax"
)

// Background jobs of the interpreter end with the shell. `nohup command &` is
// said by who wants the opposite, so that becomes a process of its own: it is
// rewritten to `outliving command`, which is a command of the executor.

// outliving is the name of that command. A script cannot say it by accident.
const outliving = ":bake-outliving"

// outlive makes a statement such a command if it is `nohup command... &`.
func outlive(stmt *syntax.Stmt) {
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !stmt.Background || !ok || len(call.Args) < 2 || call.Args[0].Lit() != "nohup" {
		return
	}
	stmt.Background = false
	call.Args[0] = word(outliving)
}
