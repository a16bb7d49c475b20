package provisioners

// These kinds put and get files and run no program of the machine: they also
// work on an image for a platform that this machine cannot run, or without a
// shell (builder.FilesOnly).

// FilesOnly reports true.
func (*Checkout) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*Copy) FilesOnly() bool { return true }

// FilesOnly reports whether directories are made, not removed.
func (d *Directory) FilesOnly() bool { return d.State != "absent" }

// FilesOnly reports true.
func (*Fetch) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*Group) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*Line) FilesOnly() bool { return true }

// FilesOnly reports true: the command runs on this machine.
func (*Local) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*Template) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*User) FilesOnly() bool { return true }

// FilesOnly reports true.
func (*Write) FilesOnly() bool { return true }
