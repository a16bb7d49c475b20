package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// farAway is a round trip as between continents.
const farAway = 80 * time.Millisecond

// sshCases are steps and files over SSH, to an OpenSSH server on this machine
// and to one behind a link with a delay.
func sshCases(l *lab) []benchmark {
	near, far := &sshServer{lab: l}, &sshServer{lab: l, delay: farAway}
	const steps, files = "Steps over SSH", "Files over SSH"
	size, some := l.size, l.size/4
	return []benchmark{
		{steps, "1 step", near.steps(1)},
		{steps, "20 steps", near.steps(20)},
		{steps, "100 steps", near.steps(100)},
		{steps, "20 steps, 80 ms", far.steps(20)},
		{files, fmt.Sprintf("put %d MiB", size>>20), near.put(size)},
		{files, fmt.Sprintf("get %d MiB", size>>20), near.get(size)},
		{files, "put 10,000 files of 1 KiB", near.tree()},
		{files, "put 10,000 files of 1 KiB, 80 ms", far.tree()},
		{files, fmt.Sprintf("put %d MiB, 80 ms", some>>20), far.put(some)},
	}
}

// stepCommand is the i-th trivial step.
func stepCommand(i int) string { return fmt.Sprintf("echo step %d", i) }

// steps are n trivial commands.
func (s *sshServer) steps(n int) []contestant {
	name := fmt.Sprintf("ssh-steps-%d-%d", n, s.delay.Milliseconds())
	bake := func() string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - run: %s\n", stepCommand(i))
		}
		return b.String()
	}
	packer := func() []string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"type": "shell", "inline": [%q]}`, stepCommand(i)))
		}
		return list
	}
	each := func(ssh string) string {
		return fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s echo step $i; i=$((i+1)); done", n, ssh)
	}
	shared := func() string {
		socket := s.path("mux")
		ssh := strings.Replace(s.line(), "ssh ", "ssh -o ControlPath="+socket+" ", 1)
		return strings.Replace(ssh, "ssh ", "ssh -MNf ", 1) + "; " + each(ssh) + "; " + strings.Replace(ssh, "ssh ", "ssh -q -O exit ", 1)
	}
	return []contestant{
		s.bakeRuns(name, bake, nil),
		s.packerRuns(name, packer, nil),
		s.shell("ssh, a connection per step", "ssh", func() string { return each(s.line()) }, nil),
		s.shell("ssh, one connection", "ssh", shared, nil),
		s.floor("floor", nil, func() []string { return []string{"steps", fmt.Sprint(n)} }),
	}
}

// there is where files go on the server: memory, so that its disk does not count.
const there = "/dev/shm/bake-bench"

func (s *sshServer) put(size int64) []contestant {
	name := fmt.Sprintf("ssh-put-%d-%d", size, s.delay.Milliseconds())
	channels, connections := 2, 2 // nearby the processors are the limit
	if s.delay > 0 {
		channels, connections = 32, 4 // far away it is a channel's window
	}
	tool := fmt.Sprintf("floor, %d channels on %d", channels, connections)
	from := s.made(size, 0)
	clear := s.remove(there)
	return []contestant{
		s.bakeRuns(name, func() string { return fmt.Sprintf("  - copy: {from: %s, to: %s}\n", from(), there) }, clear),
		s.packerRuns(name, func() []string {
			return []string{fmt.Sprintf(`{"type": "file", "source": %q, "destination": %q}`, from(), there)}
		}, clear),
		s.shell("scp", "scp", func() string { return s.scp(from(), "root@"+s.server.Host+":"+there) }, clear),
		s.shell("tar over ssh", "ssh", func() string { return fmt.Sprintf("%s 'rm -rf %[2]s; cat >%[2]s' <%[3]s", s.line(), there, from()) }, clear),
		s.shell("rsync", "rsync", func() string { return s.rsync(from(), "root@"+s.server.Host+":"+there) }, clear),
		s.floor(tool, clear, func() []string { return []string{"put", from(), there, fmt.Sprint(channels), fmt.Sprint(connections)} }),
	}
}

func (s *sshServer) get(size int64) []contestant {
	name := fmt.Sprintf("ssh-get-%d", size)
	here := s.path("got")
	from := s.made(size, 0)
	clear := func() string { return "rm -f " + here + "; " }
	put := func(c contestant) contestant {
		setup := c.setup
		c.setup = func(ctx context.Context) error {
			if err := setup(ctx); err != nil {
				return err
			}
			return s.do(ctx, s.cmd("sh", "-c", fmt.Sprintf("%s 'rm -rf %[2]s; cat >%[2]s' <%[3]s", s.line(), there, from())))
		}
		c.before = func(ctx context.Context) error { return s.do(ctx, s.cmd("rm", "-rf", here)) }
		return c
	}
	return []contestant{
		put(s.bakeRuns(name, func() string { return fmt.Sprintf("  - download: {from: %s, to: %s}\n", there, here) }, nil)),
		put(s.packerRuns(name, func() []string {
			return []string{fmt.Sprintf(`{"type": "file", "direction": "download", "source": %q, "destination": %q}`, there, here)}
		}, nil)),
		put(s.shell("scp", "scp", func() string { return clear() + s.scp("root@"+s.server.Host+":"+there, here) }, nil)),
		put(s.shell("cat over ssh", "ssh", func() string { return fmt.Sprintf("%s cat %s >%s", s.line(), there, here) }, nil)),
		put(s.shell("rsync", "rsync", func() string { return s.rsync("root@"+s.server.Host+":"+there, here) }, nil)),
		put(s.floor("floor", nil, func() []string { return []string{"get", there, here} })),
	}
}

func (s *sshServer) tree() []contestant {
	name := fmt.Sprintf("ssh-tree-%d", s.delay.Milliseconds())
	from := s.made(1<<10, 10000)
	clear := s.remove(there)
	tar := func(flags, back string) func() string {
		return func() string {
			return fmt.Sprintf("tar -C %s -c%sf - . | %s 'mkdir -p %s && tar -C %s -x%sf -'", from(), flags, s.line(), there, there, back)
		}
	}
	all := []contestant{
		s.bakeRuns(name, func() string { return fmt.Sprintf("  - copy: {from: %s/, to: %s/}\n", from(), there) }, clear),
		s.shell("tar over ssh", "ssh", tar("", ""), clear),
		s.shell("tar, gzip, over ssh", "ssh", tar("z", "z"), clear),
		s.shell("rsync", "rsync", func() string { return s.rsync(from()+"/", "root@"+s.server.Host+":"+there) }, clear),
		s.floor("floor", clear, func() []string { return []string{"tree", from(), there} }),
	}
	packer := s.packerRuns(name, func() []string {
		return []string{fmt.Sprintf(`{"type": "file", "source": "%s/", "destination": "%s/"}`, from(), there)}
	}, func(ctx context.Context) error {
		return s.do(ctx, s.cmd("sh", "-c", s.line()+" 'rm -rf "+there+" && mkdir "+there+"'"))
	})
	if s.delay > 0 {
		packer.once, packer.note = true, "one run: it takes more than a minute"
	} else {
		all = append(all, s.shell("scp -r", "scp", func() string {
			return strings.Replace(s.scp(from(), "root@"+s.server.Host+":"+there), "scp ", "scp -r ", 1)
		}, clear))
	}
	return append(all[:1:1], append([]contestant{packer}, all[1:]...)...)
}

// made returns what makes the data when it is first needed. A case whose data
// cannot be made fails with a name that does not exist.
func (s *sshServer) made(size int64, files int) func() string {
	return func() string {
		path, err := s.data(fmt.Sprintf("files%d", files), size, files)
		if err != nil {
			return "/cannot-make-data/" + strings.ReplaceAll(err.Error(), " ", "-")
		}
		return path
	}
}

func (s *sshServer) scp(from, to string) string {
	return fmt.Sprintf("scp -q -P %d %s %s %s", s.server.Port, strings.Join(s.options(), " "), from, to)
}

func (s *sshServer) rsync(from, to string) string {
	return fmt.Sprintf("rsync -a -e 'ssh -p %d %s' %s %s", s.server.Port, strings.Join(s.options(), " "), from, to)
}
