package applet

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"maps"
)

// All returns the utilities by name.
func All() Table {
	t := Table{}
	for _, part := range []Table{files(), text(), system(), data()} {
		maps.Copy(t, part)
	}
	return t
}

// files are the utilities that work on names, modes and trees.
func files() Table {
	return Table{
		"basename": basename, "dirname": dirname,
		"chgrp": chgrp, "chmod": chmod, "chown": chown,
		"cp": cp, "install": install, "ln": ln, "mv": mv,
		"du": du, "find": find, "ls": ls, "stat": stat,
		"mkdir": mkdir, "mkfifo": mkfifo, "mktemp": mktemp, "touch": touch, "truncate": truncate,
		"readlink": readlink, "realpath": realpath,
		"rm": rm, "rmdir": rmdir,
	}
}

// text are the filters.
func text() Table {
	return Table{
		"cat": cat, "tac": tac, "rev": rev, "nl": nl,
		"cmp": cmpCommand, "comm": comm, "paste": paste,
		"cut": cut, "tr": tr, "fold": fold,
		"grep": grep, "egrep": grep, "fgrep": grep,
		"head": head, "tail": tail, "wc": wc,
		"sed": sed, "sort": sortLines, "uniq": uniq,
		"seq": seq, "tee": tee, "yes": yes, "expr": expr,
	}
}

// system are the utilities that ask about the machine or start programs.
func system() Table {
	return Table{
		"date": date, "sleep": sleep, "sync": syncDisks,
		"env": env, "printenv": printenv, "nohup": nohup, "timeout": timeout, "xargs": xargs,
		"getent": getent, "groups": id, "id": id, "whoami": id,
		"hostname": hostname, "nproc": nproc, "uname": uname, "tty": tty,
		"kill": kill, "umask": umaskCommand, "which": which,
		"httpd": httpd, "scp": scp, "wget": wget,
		// The shell has these built in; as programs they are for env and xargs.
		"true":  func(context.Context, *Call) error { return nil },
		"false": func(context.Context, *Call) error { return &Exit{1} },
	}
}

// data are the utilities that pack and digest.
func data() Table {
	return Table{
		"base64": base64Coder, "dd": dd, "tar": tarball,
		"gzip": gzipper, "gunzip": gzipper, "zcat": gzipper,
		"md5sum":    checksum(md5.New),
		"sha1sum":   checksum(sha1.New),
		"sha256sum": checksum(sha256.New),
		"sha512sum": checksum(sha512.New),
	}
}
