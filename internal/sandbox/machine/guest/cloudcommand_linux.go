package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cloudInit is the command cloud-init: what images' users ask of it.
func (m *machine) cloudInit(cmd command) answer {
	verb := ""
	if len(cmd.Args) > 0 {
		verb = cmd.Args[0]
	}
	switch verb {
	case "status":
		return m.cloudStatus(cmd.Args[1:])
	case "clean":
		if cmd.uid != 0 {
			return answer{Err: "cloud-init clean: must be superuser.\n", Code: 1}
		}
		return m.cloudClean(cmd.Args[1:])
	case "query":
		return m.cloudQuery(cmd.Args[1:])
	case "-v", "--version":
		return answer{Out: "/usr/bin/cloud-init 24.1 (bake's sandbox)\n"}
	}
	return answer{Err: fmt.Sprintf("cloud-init %s: the machines of bake's sandbox know status, clean and query\n", verb), Code: 2}
}

func (m *machine) cloudStatus(args []string) answer {
	state := "running"
	if slices.Contains(args, "--wait") || slices.Contains(args, "-w") {
		<-m.cloud.done
	}
	select {
	case <-m.cloud.done:
		state = "done"
	default:
	}
	m.cloud.mu.Lock()
	problems := slices.Clone(m.cloud.problems)
	m.cloud.mu.Unlock()
	a := answer{}
	if state == "done" && len(problems) > 0 {
		state, a.Code = "error", 1
	}
	a.Out = "status: " + state + "\n"
	if slices.Contains(args, "--long") || slices.Contains(args, "-l") {
		a.Out += "detail:\nDataSourceEc2Local\nerrors:\n"
		for _, p := range problems {
			a.Out += "\t- " + p + "\n"
		}
	}
	if strings.Contains(strings.Join(args, " "), "json") {
		data, err := json.Marshal(map[string]any{"status": state, "datasource": "ec2", "errors": append([]string{}, problems...)})
		if err == nil {
			a.Out = string(data) + "\n"
		}
	}
	return a
}

// cloudClean makes the root one that no instance had.
func (m *machine) cloudClean(args []string) answer {
	var files []string
	for _, pattern := range []string{cloudDir + "/*"} {
		found, _ := filepath.Glob(pattern) // the pattern is well-formed
		files = append(files, found...)
	}
	if slices.Contains(args, "--logs") || slices.Contains(args, "-l") {
		files = append(files, "/var/log/cloud-init.log", outputLog)
	}
	seed := slices.Contains(args, "--seed") || slices.Contains(args, "-s")
	for _, f := range files {
		if filepath.Base(f) == "seed" && !seed {
			continue
		}
		if err := os.RemoveAll(f); err != nil {
			return answer{Err: err.Error() + "\n", Code: 1}
		}
	}
	if slices.Contains(args, "--machine-id") && exists("/etc/machine-id") {
		if err := os.WriteFile("/etc/machine-id", []byte("uninitialized\n"), 0o444); err != nil {
			return answer{Err: err.Error() + "\n", Code: 1}
		}
	}
	if slices.Contains(args, "--reboot") || slices.Contains(args, "-r") {
		return answer{then: func() { m.goDown(Reboot) }}
	}
	return answer{}
}

func (m *machine) cloudQuery(args []string) answer {
	known := map[string]string{"instance_id": m.InstanceID, "region": m.Region, "local_hostname": m.Hostname, "cloud_name": "aws",
		"platform": "ec2", "userdata": string(m.UserData), "v1.instance_id": m.InstanceID, "v1.region": m.Region}
	if len(args) != 1 || known[args[0]] == "" {
		return answer{Err: "cloud-init query: there is no such key\n", Code: 1}
	}
	return answer{Out: known[args[0]] + "\n"}
}
