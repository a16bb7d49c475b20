package ecs

import (
	"maps"
	"slices"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// defaultSettings are what an account has that has set nothing.
func defaultSettings() map[string]string {
	return map[string]string{
		"serviceLongArnFormat": "enabled", "taskLongArnFormat": "enabled", "containerInstanceLongArnFormat": "enabled", "awsvpcTrunking": "disabled",
		"containerInsights": "disabled", "fargateFIPSMode": "disabled", "tagResourceAuthorization": "off", "fargateTaskRetirementWaitPeriod": "7",
		"guardDutyActivate": "off", "defaultLogDriverMode": "blocking",
	}
}

func (r *region) setting(call *api.Call, name, value string) (*wire.Setting, error) {
	if _, ok := defaultSettings()[name]; !ok {
		return nil, badParameter("Invalid setting name: %s", name)
	}
	r.Settings[name] = value
	return &wire.Setting{Name: name, Value: value, PrincipalArn: "arn:aws:iam::" + call.Account + ":root", Type: "user"}, nil
}

func (c *T) putAccountSetting(call *api.Call, r *region, in *wire.PutAccountSettingInput) (*wire.PutAccountSettingOutput, error) {
	s, err := r.setting(call, in.Name, in.Value)
	return &wire.PutAccountSettingOutput{Setting: s}, err
}

func (c *T) putAccountSettingDefault(call *api.Call, r *region, in *wire.PutAccountSettingDefaultInput) (*wire.PutAccountSettingDefaultOutput, error) {
	s, err := r.setting(call, in.Name, in.Value)
	return &wire.PutAccountSettingDefaultOutput{Setting: s}, err
}

func (c *T) deleteAccountSetting(call *api.Call, r *region, in *wire.DeleteAccountSettingInput) (*wire.DeleteAccountSettingOutput, error) {
	value, ok := defaultSettings()[in.Name]
	if !ok {
		return nil, badParameter("Invalid setting name: %s", in.Name)
	}
	delete(r.Settings, in.Name)
	return &wire.DeleteAccountSettingOutput{Setting: &wire.Setting{Name: in.Name, Value: value, Type: "user"}}, nil
}

func (c *T) listAccountSettings(call *api.Call, r *region, in *wire.ListAccountSettingsInput) (*wire.ListAccountSettingsOutput, error) {
	all := maps.Clone(r.Settings)
	if in.EffectiveSettings {
		all = defaultSettings()
		maps.Copy(all, r.Settings)
	}
	out := &wire.ListAccountSettingsOutput{Settings: []wire.Setting{}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if in.Name == "" || in.Name == name {
			out.Settings = append(out.Settings, wire.Setting{Name: name, Value: all[name], PrincipalArn: "arn:aws:iam::" + call.Account + ":root", Type: "user"})
		}
	}
	return out, nil
}
