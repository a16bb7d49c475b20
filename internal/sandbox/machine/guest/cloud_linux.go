package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bake/internal/sandbox/machine/cloudinit"
)

// Where cloud-init keeps what it knows and tells.
const (
	cloudDir    = "/var/lib/cloud"
	instanceDir = cloudDir + "/instance" // a link to this instance's
	runDir      = "/run/cloud-init"
	outputLog   = "/var/log/cloud-init-output.log"
)

// cloud is what is known of the instance's configuration, and what came of it.
type cloud struct {
	user   *cloudinit.UserData
	image  cloudinit.Config // of the image: /etc/cloud
	began  time.Time
	output *os.File // what scripts print goes here

	mu       sync.Mutex
	problems []string
	done     chan struct{} // closed when everything is done
}

// readConfig reads what the image and the user say, and begins to take what scripts print.
func (m *machine) readConfig() error {
	m.cloud.began, m.cloud.done = time.Now(), make(chan struct{})
	m.cloud.user = cloudinit.Parse(m.UserData)
	var files [][]byte
	more, err := filepath.Glob("/etc/cloud/cloud.cfg.d/*.cfg")
	if err != nil {
		return err
	}
	for _, name := range append([]string{"/etc/cloud/cloud.cfg"}, more...) {
		if data, err := os.ReadFile(name); err == nil {
			files = append(files, data)
		}
	}
	m.cloud.image = cloudinit.Defaults(files...)
	for _, p := range m.cloud.user.Problems {
		m.problem("user data: %s", p)
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	return m.tee()
}

// tee makes the pipe whose content goes to the console and to the log, as
// cloud-init has it by default.
func (m *machine) tee() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	m.cloud.output = w
	log, err := os.OpenFile(outputLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.MultiWriter(m.console, log), r) }() // until the machine is down
	return nil
}

// problem is something that did not work and stops nothing.
func (m *machine) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.say("[%s] cloud-init: %s", m.InstanceID, text)
	m.cloud.mu.Lock()
	defer m.cloud.mu.Unlock()
	m.cloud.problems = append(m.cloud.problems, text)
}

// instance makes the root this instance's, as cloud-init does: what was done
// once for another one, which this one's image was made of, is done again.
func (m *machine) instance() error {
	own := cloudDir + "/instances/" + m.InstanceID
	for _, d := range []string{own + "/sem", own + "/scripts", cloudDir + "/sem", cloudDir + "/scripts/per-boot", cloudDir + "/scripts/per-instance", cloudDir + "/scripts/per-once"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := absent(os.Remove(instanceDir)); err != nil {
		return err
	}
	if err := os.Symlink(own, instanceDir); err != nil {
		return err
	}
	if err := writeFile(own+"/user-data.txt", m.UserData, 0o600); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"v1": map[string]string{"instance_id": m.InstanceID, "instance-id": m.InstanceID,
		"region": m.Region, "local_hostname": m.Hostname, "cloud_name": "aws", "cloud-name": "aws", "platform": "ec2"}})
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(cloudDir+"/data/instance-id", []byte(m.InstanceID+"\n"), 0o644),
		writeFile(runDir+"/.instance-id", []byte(m.InstanceID+"\n"), 0o644),
		writeFile(runDir+"/instance-data.json", append(data, '\n'), 0o644),
		writeFile(runDir+"/cloud-id", []byte("aws\n"), 0o644))
}

// once does what is done once per instance, and remembers it, as cloud-init does.
func (m *machine) once(name string, do func() error) {
	mark := instanceDir + "/sem/config_" + name
	if exists(mark) {
		return
	}
	if err := do(); err != nil {
		m.problem("%s: %v", name, err)
	}
	if err := writeFile(mark, nil, 0o644); err != nil {
		m.problem("%s: %v", name, err)
	}
}

// early is what cloud-init does before somebody can log in.
func (m *machine) early() {
	c := m.cloud.user.Config
	for _, h := range m.cloud.user.Hooks {
		path := instanceDir + "/boothooks/" + h.Name
		if err := writeFile(path, h.Body, 0o700); err != nil {
			m.problem("boot hook %s: %v", h.Name, err)
			continue
		}
		m.runScript(path)
	}
	if len(c.BootCmd) > 0 {
		path := RunDir + "/bootcmd.sh"
		if err := writeFile(path, script(c.BootCmd), 0o700); err != nil {
			m.problem("bootcmd: %v", err)
		} else {
			m.runScript(path)
		}
	}
	m.once("write_files", func() error { return m.writeFiles(false) })
	if err := m.hostname(); err != nil {
		m.problem("hostname: %v", err)
	}
}

// late is what it does when somebody can log in and services are up.
func (m *machine) late() {
	user := m.cloud.user
	c := user.Config
	if c.Timezone != "" {
		m.once("timezone", func() error { return setTimezone(c.Timezone) })
	}
	if len(c.Packages) > 0 || c.PackageUpdate || c.PackageUpgrade {
		m.once("package_update_upgrade_install", m.packages)
	}
	m.once("write_files_deferred", func() error { return m.writeFiles(true) })
	m.once("scripts", m.placeScripts)
	if mark := cloudDir + "/sem/config_scripts_per_once.once"; !exists(mark) {
		m.runScripts(cloudDir + "/scripts/per-once")
		if err := writeFile(mark, nil, 0o644); err != nil {
			m.problem("per-once: %v", err)
		}
	}
	m.runScripts(cloudDir + "/scripts/per-boot")
	m.once("scripts_per_instance", func() error { m.runScripts(cloudDir + "/scripts/per-instance"); return nil })
	m.once("scripts_user", func() error { m.runScripts(instanceDir + "/scripts"); return nil })
	if rc := "/etc/rc.local"; executable(rc) {
		m.runScript(rc)
	}
	if err := m.finish(); err != nil {
		m.problem("finishing: %v", err)
	}
	if p := c.PowerState; p != nil {
		m.once("power_state_change", func() error { return m.powerState(p) })
	}
}

// placeScripts puts the user's scripts where they are run from.
func (m *machine) placeScripts() error {
	user := m.cloud.user
	var errs []error
	if len(user.Config.RunCmd) > 0 {
		errs = append(errs, writeFile(instanceDir+"/scripts/runcmd", script(user.Config.RunCmd), 0o700))
	}
	for _, s := range user.Scripts {
		dir := instanceDir + "/scripts/"
		if s.When != "per-instance" {
			dir = cloudDir + "/scripts/" + s.When + "/"
		}
		errs = append(errs, writeFile(dir+filepath.Base(s.Name), s.Body, 0o700))
	}
	return errors.Join(errs...)
}

func script(lines []string) []byte {
	return []byte("#!/bin/sh\n" + strings.Join(lines, "\n") + "\n")
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// runScripts runs the programs in a folder, by name.
func (m *machine) runScripts(dir string) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		m.problem("%s: %v", dir, err)
	}
	for _, n := range names {
		if path := filepath.Join(dir, n.Name()); executable(path) {
			m.runScript(path)
		}
	}
}

func (m *machine) runScript(path string) {
	if err := m.run(exec.Command(path)); err != nil {
		m.problem("running %s: %v", path, err)
	}
}

// run runs a program of the boot; what it prints goes to console and log.
func (m *machine) run(cmd *exec.Cmd) error {
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "INSTANCE_ID=" + m.InstanceID}, cmd.Env...)
	cmd.Stdout, cmd.Stderr = m.cloud.output, m.cloud.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Run()
	if errors.Is(err, syscall.ENOEXEC) && len(cmd.Args) == 1 { // a script that does not say of what
		again := exec.Command("/bin/sh", cmd.Args[0])
		again.Env = []string{"INSTANCE_ID=" + m.InstanceID}
		return m.run(again)
	}
	return err
}

// finish tells, where programs wait for it, that everything is done.
func (m *machine) finish() error {
	m.cloud.mu.Lock()
	problems := slices.Clone(m.cloud.problems)
	m.cloud.mu.Unlock()
	if problems == nil {
		problems = []string{}
	}
	result, err := json.MarshalIndent(map[string]any{"v1": map[string]any{"datasource": "DataSourceEc2Local", "errors": problems}}, "", " ")
	if err != nil {
		return err
	}
	message := m.cloud.user.Config.FinalMessage
	if message == "" {
		message = fmt.Sprintf("Cloud-init (bake) finished at %s. Datasource DataSourceEc2Local. Up %.2f seconds",
			time.Now().UTC().Format(time.RFC1123Z), time.Since(m.cloud.began).Seconds())
	}
	m.say("%s", message)
	if err := writeFile(runDir+"/result.json", append(result, '\n'), 0o644); err != nil {
		return err
	}
	for link, target := range map[string]string{"result.json": runDir + "/result.json", "status.json": runDir + "/status.json"} {
		if err := absent(os.Remove(cloudDir + "/data/" + link)); err != nil {
			return err
		}
		if err := os.Symlink(target, cloudDir+"/data/"+link); err != nil {
			return err
		}
	}
	return writeFile(instanceDir+"/boot-finished", []byte(message+"\n"), 0o644)
}

// powerState does what is to become of the machine.
func (m *machine) powerState(p *cloudinit.PowerState) error {
	how := PowerOff
	switch p.Mode {
	case "reboot":
		how = Reboot
	case "poweroff", "halt":
	default:
		return fmt.Errorf("mode %q: want poweroff, halt or reboot", p.Mode)
	}
	if p.Condition.Value == "false" {
		return nil
	}
	if p.Condition.Value != "" && p.Condition.Value != "true" && m.run(exec.Command("/bin/sh", "-c", p.Condition.Value)) != nil {
		return nil
	}
	delay := p.Delay
	if delay == "" {
		delay = "now"
	}
	a := m.shutdown([]string{delay}, how)
	if a.Code != 0 {
		return errors.New(strings.TrimSpace(a.Err))
	}
	if a.then != nil {
		a.then()
	}
	return nil
}
