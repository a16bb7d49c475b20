package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func sleep(ctx context.Context, c *Call) error {
	var total time.Duration
	for _, arg := range c.Args {
		d, err := seconds(arg)
		if err != nil {
			return err
		}
		total += d
	}
	if len(c.Args) == 0 {
		return usagef("missing operand")
	}
	timer := time.NewTimer(total)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seconds reads "1.5", "2m", "1h", "1d" and "infinity".
func seconds(text string) (time.Duration, error) {
	if text == "infinity" || text == "inf" {
		return 1<<63 - 1, nil
	}
	unit := time.Second
	number := text
	if n := len(text); n > 0 {
		if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[n-1]]; ok {
			unit, number = u, text[:n-1]
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 {
		return 0, usagef("invalid time interval '%s'", text)
	}
	return time.Duration(f * float64(unit)), nil
}

func syncDisks(context.Context, *Call) error {
	unix.Sync()
	return nil
}

func env(ctx context.Context, c *Call) error {
	o, err := c.parse("+iu:C:0", map[string]byte{"ignore-environment": 'i', "unset": 'u', "chdir": 'C', "null": '0'})
	if err != nil {
		return err
	}
	call := *c
	call.Env = append([]string{}, c.Env...)
	if o.has("i") {
		call.Env = nil
	}
	args := o.rest
	if len(args) > 0 && args[0] == "-" {
		call.Env, args = nil, args[1:]
	}
	for _, name := range o.all('u') {
		call.Env = without(call.Env, name)
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		call.Env = append(without(call.Env, name), args[0])
		args = args[1:]
	}
	if o.has("C") {
		call.Dir = c.Path(o.get('C', ""))
	}
	if len(args) > 0 {
		return status(call.Exec(ctx, args))
	}
	end := "\n"
	if o.has("0") {
		end = "\x00"
	}
	for _, kv := range call.Env {
		if err := c.printf("%s%s", kv, end); err != nil {
			return err
		}
	}
	return nil
}

func without(env []string, name string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			kept = append(kept, kv)
		}
	}
	return kept
}

func status(code int) error {
	if code == 0 {
		return nil
	}
	return &Exit{code}
}

func printenv(_ context.Context, c *Call) error {
	if len(c.Args) == 0 {
		return c.printf("%s\n", strings.Join(c.Env, "\n"))
	}
	for _, name := range c.Args {
		v, ok := c.lookupEnv(name)
		if !ok {
			c.failed = true
			continue
		}
		if err := c.printf("%s\n", v); err != nil {
			return err
		}
	}
	return nil
}

func nohup(ctx context.Context, c *Call) error {
	if len(c.Args) == 0 {
		return usagef("missing operand")
	}
	signal.Ignore(syscall.SIGHUP)
	return status(c.Exec(ctx, c.Args))
}

// timeout ends a command after a while; it then exits with 124.
func timeout(ctx context.Context, c *Call) error {
	o, err := c.parse("+s:k:", map[string]byte{"signal": 's', "kill-after": 'k'})
	if err != nil {
		return err
	}
	if len(o.rest) < 2 {
		return usagef("missing operand")
	}
	d, err := seconds(o.rest[0])
	if err != nil {
		return err
	}
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	code := c.Exec(ctx, o.rest[1:])
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = 124
	}
	return status(code)
}

func id(_ context.Context, c *Call) error {
	o, err := c.parse("ugGnr", map[string]byte{"user": 'u', "group": 'g', "groups": 'G', "name": 'n'})
	if err != nil {
		return err
	}
	u := account{uid: os.Geteuid(), gid: os.Getegid()}
	groups, _ := os.Getgroups()
	if len(o.rest) > 0 {
		if u, err = findUser(o.rest[0]); err != nil || u.gid < 0 {
			return fmt.Errorf("'%s': no such user", o.rest[0])
		}
		groups = memberships(u)
	}
	groups = prepend(u.gid, groups)
	names := make([]string, len(groups))
	numbers := make([]string, len(groups))
	both := make([]string, len(groups))
	for i, g := range groups {
		names[i], numbers[i] = groupName(g), strconv.Itoa(g)
		both[i] = labelled(g, names[i])
	}
	list := func(names, numbers []string) error {
		if o.has("n") || c.Name == "groups" {
			numbers = names
		}
		return c.printf("%s\n", strings.Join(numbers, " "))
	}
	switch {
	case c.Name == "whoami":
		return c.printf("%s\n", userName(u.uid))
	case c.Name == "groups" || o.has("G"):
		return list(names, numbers)
	case o.has("u"):
		return list([]string{userName(u.uid)}, []string{strconv.Itoa(u.uid)})
	case o.has("g"):
		return list(names[:1], numbers[:1])
	}
	return c.printf("uid=%s gid=%s groups=%s\n", labelled(u.uid, userName(u.uid)), both[0], strings.Join(both, ","))
}

func labelled(n int, name string) string {
	if name == strconv.Itoa(n) {
		return name
	}
	return fmt.Sprintf("%d(%s)", n, name)
}

func prepend(first int, rest []int) []int {
	out := []int{first}
	for _, g := range rest {
		if g != first {
			out = append(out, g)
		}
	}
	return out
}

// memberships are the groups that list a user in /etc/group.
func memberships(u account) []int {
	lines, _ := database("/etc/group")
	var groups []int
	for _, f := range lines {
		if len(f) < 4 {
			continue
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if gid, err := strconv.Atoi(f[2]); err == nil && member == u.name {
				groups = append(groups, gid)
			}
		}
	}
	return groups
}

// getent reads /etc/passwd, /etc/group and /etc/hosts.
func getent(_ context.Context, c *Call) error {
	if len(c.Args) == 0 {
		return usagef("missing operand")
	}
	files := map[string]string{"passwd": "/etc/passwd", "group": "/etc/group"}
	file, ok := files[c.Args[0]]
	if !ok {
		return usagef("unknown database: %s", c.Args[0])
	}
	lines, err := database(file)
	if err != nil {
		return err
	}
	keys := c.Args[1:]
	hit := map[string]bool{}
	for _, f := range lines {
		wanted := len(keys) == 0
		for _, k := range keys {
			if f[0] == k || len(f) > 2 && f[2] == k {
				wanted, hit[k] = true, true
			}
		}
		if wanted {
			if err := c.printf("%s\n", strings.Join(f, ":")); err != nil {
				return err
			}
		}
	}
	if len(hit) < len(keys) {
		return &Exit{2}
	}
	return nil
}

func hostname(_ context.Context, c *Call) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return c.printf("%s\n", name)
}

func nproc(_ context.Context, c *Call) error { return c.printf("%d\n", runtime.NumCPU()) }

func tty(_ context.Context, c *Call) error {
	f, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		c.printf("not a tty\n")
		return &Exit{1}
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return err
	}
	return c.printf("%s\n", name)
}

func uname(_ context.Context, c *Call) error {
	o, err := c.parse("asnrvmpio", map[string]byte{"all": 'a', "machine": 'm', "kernel-name": 's', "kernel-release": 'r', "nodename": 'n'})
	if err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	var words []string
	for _, f := range []struct{ letters, text string }{
		{"s", unix.ByteSliceToString(u.Sysname[:])}, {"n", unix.ByteSliceToString(u.Nodename[:])},
		{"r", unix.ByteSliceToString(u.Release[:])}, {"v", unix.ByteSliceToString(u.Version[:])},
		{"mpi", unix.ByteSliceToString(u.Machine[:])}, {"o", "GNU/Linux"},
	} {
		if o.has(f.letters) || o.has("a") || f.letters == "s" && len(o.seen) == 0 {
			words = append(words, f.text)
		}
	}
	return c.printf("%s\n", strings.Join(words, " "))
}

func which(_ context.Context, c *Call) error {
	for _, name := range c.Args {
		path, err := c.lookPath(name)
		if err != nil {
			c.failed = true
			continue
		}
		if err := c.printf("%s\n", path); err != nil {
			return err
		}
	}
	return nil
}

// kill sends a signal to processes by their ids.
func kill(_ context.Context, c *Call) error {
	args := c.Args
	sig := syscall.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		var names []string
		for n := syscall.Signal(1); n < 32; n++ {
			names = append(names, strings.TrimPrefix(unix.SignalName(n), "SIG"))
		}
		return c.printf("%s\n", strings.Join(names, " "))
	}
	if len(args) > 1 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		name := args[0][1:]
		args = args[1:]
		if name == "s" && len(args) > 0 {
			name, args = args[0], args[1:]
		}
		var ok bool
		if sig, ok = Signal(name); !ok {
			return usagef("%s: invalid signal specification", name)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return usagef("missing operand")
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			c.Warn(fmt.Errorf("%s: arguments must be process ids", arg))
			continue
		}
		send := c.Kill
		if send == nil {
			send = syscall.Kill
		}
		if err := send(pid, sig); err != nil {
			c.Warn(fmt.Errorf("(%d) - %w", pid, err))
		}
	}
	return nil
}

// umaskCommand shows or sets the umask of the process, a shell's too.
func umaskCommand(_ context.Context, c *Call) error {
	o, err := c.parse("S", nil)
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		if o.has("S") {
			m := modeString(0o777 &^ uint32(umask()))
			return c.printf("u=%s,g=%s,o=%s\n", strings.ReplaceAll(m[1:4], "-", ""), strings.ReplaceAll(m[4:7], "-", ""), strings.ReplaceAll(m[7:10], "-", ""))
		}
		return c.printf("%04o\n", umask())
	}
	if n, err := strconv.ParseUint(o.rest[0], 8, 12); err == nil {
		unix.Umask(int(n))
		return nil
	}
	allowed, err := newMode(0o777&^uint32(umask()), false, o.rest[0])
	if err != nil {
		return err
	}
	unix.Umask(int(0o777 &^ allowed))
	return nil
}

// Signal returns the signal of a name ("TERM", "SIGTERM") or number.
func Signal(name string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return syscall.Signal(n), true
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	return sig, sig != 0
}

// follow copies what is appended to a file, until ctx ends.
func follow(ctx context.Context, w io.Writer, r io.Reader) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
