// Package builtin is the base image `{builtin: true}`: a root filesystem for
// trying bake and testing it with no network and nothing installed. It is made
// of bake's own program. That is a static binary, so a copy of it at /bin/bake
// and a symbolic link for each utility are a system in which scripts run:
//
//	/bin/bake           this program
//	/bin/sh, /bin/cat.. links to it; Main looks at the name it was called by
//	/etc/os-release     NAME="bake built-in base"
//	/etc/passwd, group  root and nobody
//	/tmp, /var, /root.. the usual directories
//
// The shell is mvdan.cc/sh (package sh says what it lacks), the utilities are
// package applet: POSIX's and the options of GNU's that scripts use. It has no
// package manager, no C library, no CA certificates, no awk and no init, and is
// no base for what goes into production.
//
// The image is content-addressed by the program: the same bake gives the same
// digest on every machine, another version another. It holds a whole bake, some
// tens of megabytes. A program of the shell and the utilities alone would be
// smaller, but it would have to be shipped inside bake, built before it: then
// `go install` could not make bake any more.
package builtin
