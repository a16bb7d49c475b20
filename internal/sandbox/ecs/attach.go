package ecs

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"bake/internal/sandbox/ecs/wire"
)

// attach gives the task its network: one of its own, unless it is to have the
// machine's (host mode).
func (x *runner) attach() error {
	mode := x.def.NetworkMode
	x.t.address = "127.0.0.1"
	if mode == "host" {
		return x.bindHost()
	}
	names := []string{x.t.id()[:12]}
	if x.t.Service != "" {
		names = append(names, x.t.Service)
	}
	n, err := x.c.agent.NewNetwork(x.ctx, x.r.Account+"/"+x.r.Region, names...)
	if err != nil {
		return resourceError("unable to create the network interface: %v", err)
	}
	x.network = n
	switch mode {
	case "awsvpc":
		x.t.address = n.Address.String()
		x.attached()
	case "bridge":
		return x.bindPorts()
	}
	return nil
}

// attached tells the address of an awsvpc task.
func (x *runner) attached() {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for i := range x.t.Attachments {
		a := &x.t.Attachments[i]
		a.Status = "ATTACHED"
		a.Details = append(a.Details,
			wire.KeyValuePair{Name: "networkInterfaceId", Value: "eni-" + newID()[:17]},
			wire.KeyValuePair{Name: "macAddress", Value: "0a:58:a9:fe:00:02"},
			wire.KeyValuePair{Name: "privateDnsName", Value: "ip-" + strings.ReplaceAll(x.t.address, ".", "-") + "." + x.r.Region + ".compute.internal"},
			wire.KeyValuePair{Name: "privateIPv4Address", Value: x.t.address})
		for j := range x.t.Containers {
			x.t.Containers[j].NetworkInterfaces = []wire.NetworkInterface{{AttachmentId: a.Id, PrivateIpv4Address: x.t.address}}
		}
	}
}

// bindHost tells the ports of a task in host mode, which are what they are.
func (x *runner) bindHost() error {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for i, d := range x.def.ContainerDefinitions {
		for _, p := range d.PortMappings {
			if p.ContainerPort != nil {
				x.bound(i, p, *p.ContainerPort)
			}
		}
	}
	return nil
}

// bound notes one port of a container. The lock is held.
func (x *runner) bound(i int, p wire.PortMapping, hostPort int32) {
	c := &x.t.Containers[i]
	c.NetworkBindings = append(c.NetworkBindings, wire.NetworkBinding{BindIP: "0.0.0.0", ContainerPort: p.ContainerPort, HostPort: &hostPort, Protocol: p.Protocol})
}

// bindPorts listens at the instance's address, 127.0.0.1, for each port that a
// task in bridge mode maps; port 0 is any that is free.
func (x *runner) bindPorts() error {
	for i, d := range x.def.ContainerDefinitions {
		for _, p := range d.PortMappings {
			if p.ContainerPort == nil || p.Protocol == "udp" {
				continue
			}
			l, err := net.Listen("tcp4", "127.0.0.1:"+number(*or(p.HostPort, 0)))
			if err != nil {
				reason := fmt.Sprintf("CannotStartContainerError: Error response from daemon: driver failed programming external connectivity on endpoint: Bind for 0.0.0.0:%s failed: port is already allocated", numberOf(p.HostPort))
				return &startError{task: "Task failed to start", container: d.Name, reason: reason}
			}
			x.listeners = append(x.listeners, l)
			x.c.mu.Lock()
			x.bound(i, p, int32(l.Addr().(*net.TCPAddr).Port))
			x.c.mu.Unlock()
			x.boxes.Go(func() { x.forward(l, uint16(*p.ContainerPort)) })
		}
	}
	return nil
}

// forward joins what l accepts to a port inside, until l is closed.
func (x *runner) forward(l net.Listener, port uint16) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		x.boxes.Go(func() {
			defer conn.Close()
			stop := make(chan struct{})
			defer close(stop)
			to, err := net.Dial("tcp4", net.JoinHostPort(x.network.Address.String(), strconv.Itoa(int(x.network.HostPort(port)))))
			if err != nil {
				return
			}
			defer to.Close()
			go func() { // a stopped task cuts what is left
				select {
				case <-x.ctx.Done():
					conn.Close()
					to.Close()
				case <-stop:
				}
			}()
			go func() {
				_, _ = io.Copy(to, conn) // it ends with one of the two
				_ = to.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(conn, to)
		})
	}
}

// detach gives back what attach took. The containers have ended.
func (x *runner) detach() {
	if x.network != nil {
		_ = x.network.Close() // its process has ended, whatever it says
	}
}
