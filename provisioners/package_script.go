package provisioners

// packageFunctions are, for each manager M, of a POSIX shell:
//
//	M_installed NAME      whether the package itself is installed
//	M_has NAME [VERSION]  whether it, or what provides it, is, at that version
//	M_state               what is installed, to see whether anything changed
//	M_prepare             what must precede a change
//	M_install, M_remove, M_update NAME..., M_update_all
//	M_clean               removes lists and downloads
//
// The manager's own options are in "$@" of the course, kept in $options here.
// Nothing but lines for bake goes to stdout.
const packageFunctions = `
say() { printf 'bake:%s\n' "$*"; }
quietly() { "$@" >&2; }
split() { name=${1%%=*}; version=; case $1 in *=*) version=${1#*=};; esac; }
# pinned SEPARATOR NAME=VERSION...: pins as this manager writes them
pinned() { out=; sep=$1; shift; for p in "$@"; do split "$p"; if [ -n "$version" ]; then out="$out $name$sep$version"; else out="$out $name"; fi; done; echo "$out"; }

apt_installed() { apt_at "$1" ""; }
apt_has() {
  apt_at "$1" "$2" && return 0
  [ -z "$2" ] || return 1
  dpkg-query -W -f '${db:Status-Status}, ${Provides},\n' 2>/dev/null | grep '^installed,' | grep -qF -e ", $1," -e ", $1 ("
}
apt_at() {
  status=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null) || return 1
  while read -r state have; do
    [ "$state" = installed ] || continue
    [ -n "$2" ] || return 0
    case $have in $2) return 0;; esac
  done <<END
$status
END
  return 1
}
apt_state() { dpkg-query -W -f '${db:Status-Status} ${Package} ${Architecture} ${Version}\n' 2>/dev/null; }
apt_run() {
  set -- -y -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
  # What a build writes is safe when the image is, not before.
  [ -d /run/systemd/system ] || set -- -o Dpkg::Options::=--force-unsafe-io "$@"
  [ -n "$recommends" ] || set -- -o APT::Install-Recommends=false "$@"
  [ -n "$keep_cache" ] || set -- -o APT::Keep-Downloaded-Packages=false -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
  # Without a range of ids apt cannot become the user _apt to download.
  if [ -r /proc/self/uid_map ] && read -r inside outside count </proc/self/uid_map && [ "$count" -lt 65534 ]; then
    set -- -o APT::Sandbox::User=root "$@"
  fi
  quietly env DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true apt-get "$@"
}
apt_prepare() {
  # While an image is built nothing runs services, and packages must not start theirs.
  if [ ! -d /run/systemd/system ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  logs=
  for f in /var/log/dpkg.log /var/log/alternatives.log /var/log/apt/history.log /var/log/apt/term.log /var/log/apt/eipp.log.xz /var/cache/ldconfig/aux-cache; do
    [ -e "$f" ] || logs="$logs $f"
  done
  if [ -n "$install" ] || [ -n "$update" ]; then step 'apt-get update' apt_run $options -o Acquire::Languages=none update; fi
}
apt_install() { apt_run $options --allow-downgrades install "$@"; }
apt_remove() { apt_run $options purge "$@"; }
apt_update() { apt_run $options --only-upgrade install "$@"; }
apt_update_all() { apt_run $options dist-upgrade; }
apt_clean() {
  quietly apt-get -q clean || true
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
  rm -f $logs
}

rpm_installed() { rpm -q --quiet "$1" >/dev/null 2>&1; }
rpm_has() {
  rpm_installed "$1" || rpm -q --quiet --whatprovides "$1" >/dev/null 2>&1 || return 1
  [ -n "$2" ] || return 0
  rpm -q --qf '%{VERSION}\n%{VERSION}-%{RELEASE}\n%{EPOCH}:%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null | {
    while read -r have; do case $have in $2) exit 0;; esac; done
    exit 1
  }
}
rpm_state() { rpm -qa 2>/dev/null | sort; }

dnf_installed() { rpm_installed "$@"; }
dnf_has() { rpm_has "$@"; }
dnf_state() { rpm_state; }
dnf_run() {
  if [ -z "$recommends" ]; then set -- --setopt=install_weak_deps=False "$@"; fi
  quietly dnf -y $options "$@"
}
dnf_prepare() { :; }
dnf_install() { dnf_run install $(pinned - "$@"); }
dnf_remove() { dnf_run remove "$@"; }
dnf_update() { dnf_run upgrade "$@"; }
dnf_update_all() { dnf_run upgrade; }
dnf_clean() { quietly dnf -q clean all || true; rm -rf /var/cache/dnf /var/cache/libdnf5 /var/cache/yum; }

yum_installed() { rpm_installed "$@"; }
yum_has() { rpm_has "$@"; }
yum_state() { rpm_state; }
yum_prepare() { :; }
yum_install() { quietly yum -y $options install $(pinned - "$@"); }
yum_remove() { quietly yum -y $options remove "$@"; }
yum_update() { quietly yum -y $options update "$@"; }
yum_update_all() { quietly yum -y $options update; }
yum_clean() { quietly yum -q clean all || true; rm -rf /var/cache/yum; }

microdnf_installed() { rpm_installed "$@"; }
microdnf_has() { rpm_has "$@"; }
microdnf_state() { rpm_state; }
microdnf_run() {
  command=$1; shift
  if [ -z "$recommends" ]; then set -- --setopt=install_weak_deps=0 "$@"; fi
  quietly microdnf "$command" -y $options "$@"
}
microdnf_prepare() { :; }
microdnf_install() { microdnf_run install $(pinned - "$@"); }
microdnf_remove() { quietly microdnf remove -y $options "$@"; }
microdnf_update() { microdnf_run update "$@"; }
microdnf_update_all() { microdnf_run update; }
microdnf_clean() { quietly microdnf clean all || true; rm -rf /var/cache/yum /var/cache/dnf /var/cache/libdnf5; }

zypper_installed() { rpm_installed "$@"; }
zypper_has() { rpm_has "$@"; }
zypper_state() { rpm_state; }
zypper_run() {
  code=0
  quietly zypper --non-interactive "$@" || code=$?
  case $code in 100|101|102|103) code=0;; esac  # there are updates, a restart is needed: not failures
  return $code
}
zypper_prepare() { :; }
zypper_install() {
  if [ -z "$recommends" ]; then set -- --no-recommends "$@"; fi
  zypper_run install --auto-agree-with-licenses $options "$@"
}
zypper_remove() { zypper_run remove $options "$@"; }
zypper_update() { zypper_run update --auto-agree-with-licenses $options "$@"; }
zypper_update_all() { zypper_run update --auto-agree-with-licenses $options; }
zypper_clean() { quietly zypper --non-interactive clean --all || true; rm -rf /var/cache/zypp/packages /var/cache/zypp/raw /var/cache/zypp/solv /var/log/zypper.log; }

apk_installed() { apk info -e "$1" >/dev/null 2>&1; }
apk_has() { if [ -n "$2" ]; then apk info -e "$1=$2" >/dev/null 2>&1; else apk info -e "$1" >/dev/null 2>&1; fi; }
apk_state() { apk info -v 2>/dev/null | sort; }
apk_run() {
  [ -n "$keep_cache" ] || set -- --no-cache "$@"
  quietly apk "$@"
}
apk_prepare() { :; }
apk_install() { apk_run add $options "$@"; }
apk_remove() { apk_run del $options "$@"; }
apk_update() { apk_run add -u $options "$@"; }
apk_update_all() { apk_run upgrade $options; }
apk_clean() { rm -rf /var/cache/apk/*; }

detect() {
  for m in ${manager:-apt dnf yum microdnf zypper apk}; do
    program=$m; [ $m = apt ] && program=apt-get
    if command -v $program >/dev/null 2>&1; then manager=$m; return 0; fi
  done
  say no-manager
  exit 1
}
step() { what=$1; shift; code=0; "$@" || code=$?; if [ $code != 0 ]; then say failed "$what"; exit $code; fi; }
# Words that the manager expands itself must not become file names here.
set -f
`

// packageCourse decides what is to be done and does it.
const packageCourse = `
detect
options="$*"
missing=
for p in $install; do
  split "$p"
  ${manager}_has "$name" "$version" || missing="$missing $p"
done
present=
for p in $remove; do ! ${manager}_installed "$p" || present="$present $p"; done
old= all=
for p in $update; do
  if [ "$p" = all ]; then all=1; elif ${manager}_installed "$p"; then old="$old $p"; fi
done
if [ -z "$missing$present$old$all" ]; then exit 0; fi
before=$(${manager}_state)
${manager}_prepare
if [ -n "$present" ]; then step "removing$present" ${manager}_remove $present; fi
if [ -n "$all" ]; then step 'updating all packages' ${manager}_update_all; fi
if [ -n "$old" ]; then step "updating$old" ${manager}_update $old; fi
if [ -n "$missing" ]; then step "installing$missing" ${manager}_install $missing; fi
after=$(${manager}_state)
set +f
if [ -z "$keep_cache" ]; then ${manager}_clean; fi
if [ "$before" != "$after" ]; then
  say changed
  [ -z "$present" ] || say note "removed$present"
  [ -z "$missing" ] || say note "installed$missing"
  [ -z "$all$old" ] || say note "updated${old:- all}"
fi
`
