package provisioners_test

import (
	"strings"
	"testing"

	"bake/internal/chroottest"
	"bake/provisioners/provtest"
)

// Only Debian's packages can be had where the tests run. For the other
// managers programs of their names stand in: they keep a list of packages in
// /db, as the real ones would answer from theirs, and record how they were called.
const (
	fakeRPM = `#!/bin/sh
# rpm -qa | rpm -q --quiet [--whatprovides] NAME | rpm -q --qf FORMAT NAME
case $1 in
-qa) cat /db; exit 0;;
esac
shift; format=
while :; do case $1 in --quiet|--whatprovides) shift;; --qf) format=$2; shift 2;; *) break;; esac; done
line=$(grep "^$1-[0-9]" /db) || exit 1
full=${line#$1-}
[ -z "$format" ] || printf '%s\n%s\n(none):%s\n' "${full%-*}" "$full" "$full"
`
	fakeManager = `#!/bin/sh
echo "${0##*/} $*" >>/calls
verb=
for a; do
  case $a in
    install|add|in) verb=add;;
    remove|del|rm) verb=del;;
    upgrade|update|up) verb=up;;
    clean|refresh) exit 0;;
    -u) verb=up;;
    -*) ;;
    bad) echo "no package bad"; exit 1;;
    *) case $verb in
      add) name=${a%%=*}; case $a in *=*) v=${a#*=};; *-[0-9]*) name=${a%%-[0-9]*}; v=${a#$name-};; *) v=1.0-1;; esac
        grep -v "^$name-[0-9]" /db >/db2; echo "$name-$v" >>/db2; mv /db2 /db;;
      del) grep -v "^$a-[0-9]" /db >/db2; mv /db2 /db;;
      up) sed -i "s/^$a-.*/$a-9.9-1/" /db;;
      esac;;
  esac
done
[ "$verb" = up ] && sed -i 's/^old-.*/old-9.9-1/' /db
exit 0
`
	fakeAPK = `#!/bin/sh
if [ "$1" = info ]; then
  case $2 in
  -v) cat /db; exit 0;;
  -e) case $3 in *=*) grep -qx "${3%%=*}-${3#*=}" /db;; *) grep -q "^$3-[0-9]" /db;; esac; exit $?;;
  esac
fi
exec /fake/manager apk "$@"
`
)

// withManager is a machine whose only package manager is a fake one.
func withManager(t *testing.T, name string) *provtest.Bench {
	t.Helper()
	b := provtest.New(t, chroottest.Busybox(t).Shell(t, "dash"))
	install := func(path, text string) {
		b.Sh(t, "rm -f "+path+"; mkdir -p ${p:-/fake}\ncat >"+path+" <<'FAKE_END'\n"+text+"FAKE_END\nchmod 755 "+path)
	}
	b.Sh(t, "rm -f /bin/rpm /bin/dpkg /bin/apk; echo old-1.0-1 >/db; mkdir -p /var/cache/dnf/x /var/cache/yum/x /var/cache/zypp/raw/x /var/cache/apk; echo x >/var/cache/apk/APKINDEX; : >/calls")
	if name == "apk" {
		install("/fake/manager", strings.Replace(fakeManager, `echo "${0##*/} $*" >>/calls`, `echo "$*" >>/calls; shift`, 1))
		install("/bin/apk", fakeAPK)
	} else {
		install("/bin/rpm", fakeRPM)
		install("/bin/"+name, fakeManager)
	}
	return b
}

func TestPackageManagersAreCalledAsTheyWant(t *testing.T) {
	for _, tt := range []struct{ manager, install, pin, recommends, update, all, remove, clean string }{
		{"dnf",
			"dnf -y --setopt=install_weak_deps=False install a b", "dnf -y --setopt=install_weak_deps=False install a-2.0-3", "dnf -y install c",
			"dnf -y --setopt=install_weak_deps=False upgrade old", "dnf -y --setopt=install_weak_deps=False upgrade", "dnf -y --setopt=install_weak_deps=False remove b", "dnf -q clean all"},
		{"yum", "yum -y install a b", "yum -y install a-2.0-3", "yum -y install c", "yum -y update old", "yum -y update", "yum -y remove b", "yum -q clean all"},
		{"microdnf",
			"microdnf install -y --setopt=install_weak_deps=0 a b", "microdnf install -y --setopt=install_weak_deps=0 a-2.0-3", "microdnf install -y c",
			"microdnf update -y --setopt=install_weak_deps=0 old", "microdnf update -y --setopt=install_weak_deps=0", "microdnf remove -y b", "microdnf clean all"},
		{"zypper",
			"zypper --non-interactive install --auto-agree-with-licenses --no-recommends a b", "zypper --non-interactive install --auto-agree-with-licenses --no-recommends a=2.0-3",
			"zypper --non-interactive install --auto-agree-with-licenses c",
			"zypper --non-interactive update --auto-agree-with-licenses old", "zypper --non-interactive update --auto-agree-with-licenses", "zypper --non-interactive remove b", "zypper --non-interactive clean --all"},
		{"apk", "apk --no-cache add a b", "apk --no-cache add a=2.0-3", "apk --no-cache add c", "apk --no-cache add -u old", "apk --no-cache upgrade", "apk --no-cache del b", ""},
	} {
		t.Run(tt.manager, func(t *testing.T) {
			b := withManager(t, tt.manager)
			calls := func(what string, want ...string) {
				t.Helper()
				if want[len(want)-1] == "" {
					want = want[:len(want)-1]
				}
				got := strings.TrimSpace(b.Sh(t, "cat /calls; : >/calls"))
				if got != strings.Join(want, "\n") {
					t.Errorf("%s:\n got %s\nwant %s", what, got, strings.Join(want, "\n"))
				}
			}
			b.Do(t, "package", "[a, b]", changed)
			calls("install", tt.install, tt.clean)
			b.Do(t, "package", "[a, b]", unchanged)
			calls("all there", "")
			b.Do(t, "package", "{install: a=2.0-3}", changed)
			calls("a pinned version", tt.pin, tt.clean)
			b.Do(t, "package", "{install: a=2.0-3}", unchanged)
			calls("the pinned version is there", "")
			b.Do(t, "package", "{install: c, recommends: true}", changed)
			calls("recommends", tt.recommends, tt.clean)
			b.Do(t, "package", "{update: [old, not-installed]}", changed)
			calls("update of some", tt.update, tt.clean)
			b.Do(t, "package", "{update: all}", unchanged)
			calls("update of all", tt.all, tt.clean)
			b.Do(t, "package", "{remove: [b, not-installed]}", changed)
			calls("remove", tt.remove, tt.clean)
			if _, err := b.Try(t, "package", "bad"); err == nil || err.Error() != "installing bad: exit status 1" {
				t.Errorf("a package that does not exist: %v", err)
			}
			if tt.manager != "zypper" {
				b.Want(t, "ls -A /var/cache/"+strings.TrimPrefix(map[string]string{"dnf": "dnf", "yum": "yum", "microdnf": "dnf", "apk": "apk"}[tt.manager], "/")+" 2>/dev/null || true", "")
			}
		})
	}
}

func TestZypperCodesThatAreNoFailures(t *testing.T) {
	b := withManager(t, "zypper")
	b.Sh(t, "sed -i 's/^exit 0/exit 102/' /bin/zypper")
	b.Do(t, "package", "a", changed)
	b.Sh(t, "sed -i 's/^exit 102/exit 104/' /bin/zypper")
	if _, err := b.Try(t, "package", "b"); err == nil {
		t.Error("exit status 104 is a failure")
	}
}

func TestPackageOnAMachineWithoutManager(t *testing.T) {
	b := provtest.New(t, chroottest.Busybox(t).Shell(t, "dash"))
	b.Sh(t, "rm -f /bin/rpm /bin/dpkg /bin/apk")
	for text, want := range map[string]string{
		"a":                          "the machine has no package manager: looked for apt-get, dnf, yum, microdnf, zypper, apk",
		"{install: a, manager: dnf}": "the machine has no dnf",
	} {
		if _, err := b.Try(t, "package", text); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	b.Sh(t, "rm -f /bin/systemctl /bin/chkconfig")
	if _, err := b.Try(t, "service", "nginx"); err == nil || !strings.HasPrefix(err.Error(), "the machine has no service manager") {
		t.Errorf("service: %v", err)
	}
}

func TestServicesOfOpenRC(t *testing.T) {
	b := provtest.New(t, chroottest.Busybox(t).Shell(t, "dash"))
	b.Sh(t, `mkdir -p /etc/runlevels/default
cat >/bin/rc-update <<'END'
#!/bin/sh
case "$*" in
"add nginx default") : >/etc/runlevels/default/nginx;;
"--all del nginx") rm /etc/runlevels/default/nginx;;
*) echo "rc-update: service does not exist"; exit 1;;
esac
END
cat >/bin/rc-service <<'END'
#!/bin/sh
case $2 in status) [ -e /up ];; start) : >/up;; stop) rm /up;; esac
END
chmod 755 /bin/rc-update /bin/rc-service`)
	b.Do(t, "service", "nginx", changed)
	b.Do(t, "service", "nginx", unchanged)
	b.Do(t, "service", "{name: nginx, enabled: false}", changed)
	b.Do(t, "service", "{name: nginx, enabled: false}", unchanged)
	if _, err := b.Try(t, "service", "ngnix"); err == nil || err.Error() != "enabling ngnix: exit status 1" {
		t.Errorf("a service that does not exist: %v", err)
	}
	// On a machine that openrc runs, state counts.
	b.Sh(t, "mkdir -p /run/openrc; : >/run/openrc/softlevel")
	b.Do(t, "service", "{name: nginx, enabled: false, state: started}", changed)
	b.Do(t, "service", "{name: nginx, enabled: false, state: started}", unchanged)
	b.Do(t, "service", "{name: nginx, enabled: false, state: restarted}", changed)
	b.Do(t, "service", "{name: nginx, enabled: false, state: stopped}", changed)
	b.Do(t, "service", "{name: nginx, enabled: false, state: stopped}", unchanged)
}
