package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"bake/internal/sandbox/machine/sshd"
)

// programs are what this program is inside a machine, by the name it is called by.
func programs() map[string]func() error {
	all := map[string]func() error{
		ProgramName: run,
		sftpName:    serveFiles,
		"shutdown":  ask("shutdown"), "reboot": ask("reboot"), "poweroff": ask("poweroff"), "halt": ask("halt"),
		"cloud-init": ask("cloud-init"),
		"systemctl":  askOr("systemctl", []string{"/usr/bin/systemctl", "/bin/systemctl"}, managed),
	}
	for _, name := range append(VolumeCommands(), VolumeTools()...) {
		all[name] = askFirst(name)
	}
	return all
}

func init() {
	if len(os.Args) == 0 {
		return
	}
	f := programs()[filepath.Base(os.Args[0])]
	if f == nil {
		return
	}
	if err := f(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveFiles is SFTP on the standard streams, with the rights of who called.
func serveFiles() error {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return sshd.ServeFiles(stdio{}, dir)
}

type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return os.Stdout.Close() }
