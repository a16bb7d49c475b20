// Package provisioners holds everything that changes a running machine, one
// file for each kind of step.
//
// # How to add a kind
//
//  1. Name it in one word, as a user would say it: reboot, mount, sysctl.
//  2. Write provisioners/NAME.go with one exported struct. Its fields are the
//     keys of the step; tags say the rest (see templates.Decode): yaml, bake
//     ("main" for the short form, "required"), default, enum, and doc, from
//     which the JSON schema and editors take their help. No field is a bool
//     whose default is hard to guess, no key needs a second one to make sense.
//  3. Owners are of type Owner, modes templates.Mode, lists templates.Strings;
//     embed nothing.
//  4. Give it Validate(templates.Block) for what tags cannot say. A field that
//     is not known yet is empty there: say nothing about it.
//  5. If it reads local files, give it Check (they exist; a diagnostic at the
//     key that names them) and Fingerprint (package filetree hashes them), so
//     that a changed file changes the step's key.
//  6. Write Provision. Look first and do nothing if all is as asked
//     (Outcome.Unchanged); say in Outcome.Note, in a few words, what was done.
//     One exchange with the machine is best, two are fine.
//  7. Prefer Get and Put to shell: they work on a machine without tools, or
//     without a shell. See newFile.ensure for one file, tree.ensure for many.
//     Where a script is needed it is POSIX sh, run by ask: what is for people
//     goes to stderr, lines "bake:key value" on stdout are the answer.
//  8. Secrets may be in any field. They never stand in an argument, an error,
//     a note or the log; Command.Env and Command.Script carry them safely.
//  9. Add a line to All, a row for each key and each mistake to the table in
//     decode_test.go, and a case to provtest.Suite, which runs it on every
//     communicator there is.
//  10. Run `go test ./provisioners/...`, and write the kind into the README's list.
package provisioners
