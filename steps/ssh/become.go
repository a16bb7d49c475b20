package ssh

import (
	"strings"

	"bake/internal/shell"
)

// An identity is whose rights a command gets. The zero value: the login's own.
type identity struct {
	login       string // the user that is logged in
	user, group string // to become; names or numbers
	agent       bool   // the way to forwarded keys is kept
}

// sudoPrompt is what sudo asks with: it cannot be anything else's output.
const sudoPrompt = "\x1fbake-password\x1f"

// identity returns whose rights a command for user ("name", "uid", with
// ":group"; empty: as configured) gets.
func (m *Communicator) identity(user string) identity {
	if user == "" {
		user = m.config.Become.User
	}
	name, group, _ := strings.Cut(user, ":")
	if name == "" && group != "" {
		name = m.config.User
	}
	id := identity{login: m.config.User, user: name, group: group, agent: !m.config.Forward.isZero()}
	if name == m.config.User && group == "" {
		id.user = ""
	}
	return id
}

// asks reports whether sudo may ask for a password.
func (id identity) asks() bool { return id.user != "" && id.login != "root" }

// line returns what the login's shell is to run: the loader, as the user.
func (id identity) line(password bool, loader string) string {
	if id.user == "" {
		return "exec " + shell.Join("/bin/sh", "-c", loader)
	}
	if id.login == "root" {
		return "exec " + shell.Join("/bin/sh", "-c", asRoot, "bake", id.user, id.group, loader)
	}
	sudo := []string{"sudo", "-n"}
	if password {
		sudo = []string{"sudo", "-S", "-p", sudoPrompt}
	}
	sudo = append(sudo, "-H", "-u", numbered(id.user))
	if id.agent {
		sudo = append(sudo, "--preserve-env=SSH_AUTH_SOCK")
	}
	if id.group != "" {
		sudo = append(sudo, "-g", numbered(id.group))
	}
	return "exec " + shell.Join(append(sudo, "--", "/bin/sh", "-c", loader)...)
}

// numbered writes a number as sudo wants it.
func numbered(name string) string {
	if strings.Trim(name, "0123456789") == "" {
		return "#" + name
	}
	return name
}

// asRoot becomes another user without sudo, which small systems lack: su for
// a user with a name, which also sets its HOME; setpriv for the rest.
const asRoot = `u=$1;g=$2;case $u in *[a-zA-Z_]*);;*)n=$(id -un -- "$u" 2>/dev/null)&&u=$n;;esac;` +
	`case $u in *[a-zA-Z_]*)if [ -z "$g" ];then exec su -s /bin/sh "$u" -c "$3";fi;` +
	`id -u -- "$u" >/dev/null||exit 1;export HOME=$(eval echo "~$u");exec setpriv --reuid="$u" --regid="$g" --init-groups /bin/sh -c "$3";;esac;` +
	`export HOME=/;exec setpriv --reuid="$u" --regid="${g:-$u}" --clear-groups /bin/sh -c "$3"`
