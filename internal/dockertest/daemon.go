package dockertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Daemon is a private dockerd with its own containerd, images, containers
// and bridge. Its containers reach this machine and one another, not the world:
// that would need rules in this machine's firewall.
type Daemon struct {
	Host string // "unix:///..."

	dir    string
	bridge string // network interface; empty if this machine cannot make one
	cmd    *exec.Cmd
	done   chan error // gets the result of cmd.Wait once
}

// Launch starts a dockerd that keeps everything below dir, which must be
// short: a socket's path has at most 107 bytes. It needs root. The daemon is
// told to end if this process dies.
func Launch(dir string) (*Daemon, error) {
	d := &Daemon{dir: dir, Host: "unix://" + filepath.Join(dir, "docker.sock"), done: make(chan error, 1)}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(d.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.bridge = newBridge()
	d.cmd = exec.Command("dockerd", d.arguments()...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	started := make(chan error)
	go d.run(started)
	if err := <-started; err != nil {
		return nil, errors.Join(err, d.removeBridge())
	}
	if err := d.ready(); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

func (d *Daemon) log() string { return filepath.Join(d.dir, "dockerd.log") }

func (d *Daemon) arguments() []string {
	bridge := d.bridge
	if bridge == "" {
		bridge = "none"
	}
	return []string{
		"--config-file", filepath.Join(d.dir, "daemon.json"),
		"--host", d.Host,
		"--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"),
		"--pidfile", filepath.Join(d.dir, "dockerd.pid"),
		"--bridge", bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false",
	}
}

// run starts the daemon and waits for it on one thread of the operating
// system: the kernel sends Pdeathsig when the thread that forked ends.
func (d *Daemon) run(started chan<- error) {
	runtime.LockOSThread()
	err := d.cmd.Start()
	started <- err
	if err == nil {
		d.done <- d.cmd.Wait()
	}
}

// ready waits until the engine answers.
func (d *Daemon) ready() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		select {
		case err := <-d.done:
			d.done <- err
			return fmt.Errorf("dockerd ended: %w\n%s", err, d.tail())
		case <-late:
			return fmt.Errorf("dockerd does not answer\n%s", d.tail())
		case <-tick.C:
			if answers(d.Host) == nil {
				return nil
			}
		}
	}
}

func (d *Daemon) tail() []byte {
	log, _ := os.ReadFile(d.log())
	return log[max(0, len(log)-2000):]
}

// Stop ends the daemon, its containerd and its containers, and removes its
// mounts, its bridge and its files. It returns when nothing of it is left.
func (d *Daemon) Stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
	errs := []error{d.killRest(), d.unmount(), d.removeBridge()}
	for _, name := range []string{"data", "exec", "docker.sock", "dockerd.pid", "daemon.json", "dockerd.log"} {
		errs = append(errs, os.RemoveAll(filepath.Join(d.dir, name)))
	}
	return errors.Join(errs...)
}

// killRest ends what outlived the daemon: processes that name its directory
// in their arguments (its containerd, shims and proxies).
func (d *Daemon) killRest() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids := d.processes()
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // they are not our children: there is nothing to wait on
	}
}

func (d *Daemon) processes() []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range files {
		args, _ := os.ReadFile(file)
		if !bytes.Contains(args, []byte(filepath.Join(d.dir, "exec"))) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (d *Daemon) unmount() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], d.dir+"/") {
			points = append(points, f[4])
		}
	}
	var errs []error
	for _, point := range slices.Backward(points) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}
