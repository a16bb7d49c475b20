package ec2

import (
	"slices"

	"bake/internal/sandbox/api"
)

type stateChange struct {
	ID       string        `xml:"instanceId"`
	Current  instanceState `xml:"currentState"`
	Previous instanceState `xml:"previousState"`
}

type stateChanges struct {
	Changes set[stateChange] `xml:"instancesSet>item"`
}

type instancesIn struct {
	dry
	IDs       []string `q:"InstanceId,required"`
	Force     bool     `q:"Force"`
	Hibernate bool     `q:"Hibernate"`
	SkipOS    bool     `q:"SkipOsShutdown"`
	Info      string   `q:"AdditionalInfo"`
}

// change finds the instances, checks that each can change, and changes all: none if one can not.
func (o *op) change(ids []string, check func(*instance) error, do func(*instance)) (*stateChanges, error) {
	var all []*instance
	for _, id := range ids {
		if err := kindInstance.check(id); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		i, err := find(o, kindInstance, o.r.Instances, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, i) {
			all = append(all, i)
		}
	}
	for _, i := range all {
		if err := check(i); err != nil {
			return nil, err
		}
	}
	out := &stateChanges{}
	for _, i := range all {
		before := i.State
		do(i)
		out.Changes = append(out.Changes, stateChange{i.ID, instanceState{stateCode(i.State), i.State}, instanceState{stateCode(before), before}})
	}
	return out, nil
}

func (o *op) terminateInstances(in *instancesIn) (*stateChanges, error) {
	return o.change(in.IDs, func(i *instance) error {
		if i.NoTermination && i.State != terminated {
			return api.Errorf("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
		}
		return nil
	}, func(i *instance) {
		if i.State == terminated || i.State == shuttingDown {
			return
		}
		i.Transition, i.Reason = userInitiated(o.now), stateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
		i.comes(shuttingDown, terminated, o.now.Add(o.world.Takes(terminateTime)))
		o.then(func() { o.kill(i.ID) })
	})
}

func (o *op) stopInstances(in *instancesIn) (*stateChanges, error) {
	return o.change(in.IDs, func(i *instance) error {
		switch {
		case !slices.Contains([]string{running, pending, stopping, stopped}, i.State):
			return api.Errorf("IncorrectInstanceState", "This instance '%s' is not in a state from which it can be stopped.", i.ID)
		case i.NoStop:
			return api.Errorf("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID)
		case i.Spot && (i.Spec.Market == nil || i.Spec.Market.Spot == nil || i.Spec.Market.Spot.Type != "persistent"):
			return api.Errorf("UnsupportedOperation", "You can't stop the Spot Instance '%s' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.", i.ID)
		case in.Hibernate && !or(i.Spec.Hibernation, hibernation{}).Configured:
			return api.Errorf("UnsupportedHibernationConfiguration", "Instance %s is not configured for hibernation.", i.ID)
		case i.State == pending && !i.Booted && !in.Force:
			return api.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be stopped.", i.ID)
		}
		return nil
	}, func(i *instance) {
		if i.State == stopped || i.State == stopping {
			return
		}
		i.Transition, i.Reason = userInitiated(o.now), stateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
		i.comes(stopping, stopped, o.now.Add(o.world.Takes(stopTime)))
		o.then(func() { o.stop(i.ID) })
	})
}

func (o *op) startInstances(in *instancesIn) (*stateChanges, error) {
	return o.change(in.IDs, func(i *instance) error {
		t := typeTable()[i.Type]
		switch {
		case i.State == running || i.State == pending:
			return nil
		case i.State != stopped:
			return api.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", i.ID)
		case !o.hasRoom(t, i.Zone, i.Spot):
			return &api.Error{Code: "InsufficientInstanceCapacity", Status: 500, Message: "Insufficient capacity."}
		}
		return nil
	}, func(i *instance) {
		if i.State != stopped {
			return
		}
		i.Transition, i.Reason, i.Launched = "", stateReason{}, o.now
		i.comes(pending, running, o.now.Add(o.world.Takes(bootTime)))
		o.then(func() { o.boot(i.ID, o.world.Takes(bootTime)) })
	})
}

func (o *op) rebootInstances(in *instancesIn) (*returned, error) {
	_, err := o.change(in.IDs, func(i *instance) error {
		if i.State != running && i.State != pending {
			return api.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be rebooted.", i.ID)
		}
		return nil
	}, func(i *instance) { o.then(func() { o.reboot(i.ID) }) })
	return ok(), err
}
