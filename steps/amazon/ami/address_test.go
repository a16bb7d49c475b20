package ami_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bake/steps/amazon"
)

var publicAddress = regexp.MustCompile(`<ipAddress>[^<]*</ipAddress>`)

// TestAPublicAddressThatComesLateIsWaitedFor: AWS tells it with the running
// instance, and now and then a moment later.
func TestAPublicAddressThatComesLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := 0
	m := w.between(func(action, answer string) string {
		if strings.Contains(answer, "<name>running</name>") {
			if late++; late > 2 {
				return answer
			}
		}
		return publicAddress.ReplaceAllString(answer, "")
	})
	h, err := w.bakeThrough(m, with("machine: {public_ip: true}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Done["web/open"].Machine.Detail["address"]; late < 3 || !strings.HasPrefix(got, "127.") {
		t.Errorf("bake connected to %s; it looked %d times at a running machine", got, late)
	}
}

// TestAPublicAddressThatDoesNotComeIsDoneWithout: what has a private address
// may be reached there.
func TestAPublicAddressThatDoesNotComeIsDoneWithout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.between(func(_, answer string) string { return publicAddress.ReplaceAllString(answer, "") })
	h, err := w.bakeThrough(m, with("machine: {public_ip: true}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Done["web/open"].Machine.Detail["address"]; got == "" || strings.HasPrefix(got, "127.") {
		t.Errorf("bake connected to %q", got)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
}

func TestAnAddressThatIsAskedForAndDoesNotComeIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.between(func(_, answer string) string { return publicAddress.ReplaceAllString(answer, "") })
	_, err := w.bakeThrough(m, with("ssh: {address: public, timeout: 3s}"))
	if err == nil || !strings.Contains(err.Error(), "has no address after 3s") {
		t.Errorf("error %v", err)
	}
	w.wantOnly("after the failure")
}

func TestTheTemplateSaysWhichAddressIsConnectedTo(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"public": "127.1.2.3", "private": "127.1.2.4", "public_dns": "ec2-127-1-2-3.test", "private_dns": "ip-127-1-2-4.test",
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.between(func(action, answer string) string {
				if action != "DescribeInstances" && action != "RunInstances" {
					return answer
				}
				for name, value := range map[string]string{"ipAddress": "127.1.2.3", "privateIpAddress": "127.1.2.4", "dnsName": "ec2-127-1-2-3.test", "privateDnsName": "ip-127-1-2-4.test"} {
					answer = regexp.MustCompile("<"+name+">[^<]*<").ReplaceAllString(answer, "<"+name+">"+value+"<")
				}
				return answer
			})
			_, err := w.bakeThrough(m, with("ssh: {timeout: 1s, port: 47, address: "+address+"}"))
			if err == nil || !strings.Contains(err.Error(), "connecting to "+want+":47") {
				t.Errorf("error %v, want one about %s", err, want)
			}
		})
	}
}

// TestTagsAreGivenAtBirthInEveryPartition: all regions take them in the
// creating call since July 2018, key pairs and security groups since 2020; a
// machine's tags in its metadata are asked for only where the template does,
// since not every region has them.
func TestTagsAreGivenAtBirthInEveryPartition(t *testing.T) {
	t.Parallel()
	for _, region := range []string{"us-east-1", "cn-north-1", "us-gov-west-1"} {
		t.Run(region, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.between(nil)
			m.region = region
			text := strings.Replace(tiny, "{owner: amazon", "{region: "+region+", owner: amazon", 1)
			if _, err := w.bakeThrough(m, text); err != nil {
				t.Fatal(err)
			}
			for action, kinds := range map[string][]string{
				"ImportKeyPair": {"key-pair"}, "CreateSecurityGroup": {"security-group"}, "RunInstances": {"instance", "volume", "network-interface"}, "CreateImage": {"image", "snapshot"},
			} {
				for _, f := range m.of(action) {
					for n, kind := range kinds {
						at := fmt.Sprintf("TagSpecification.%d.", n+1)
						tags := map[string]string{}
						for k := range f {
							if strings.HasPrefix(k, at+"Tag.") && strings.HasSuffix(k, ".Key") {
								tags[f.Get(k)] = f.Get(strings.TrimSuffix(k, "Key") + "Value")
							}
						}
						if f.Get(at+"ResourceType") != kind || tags[amazon.TagRun] != "r1" || tags[amazon.TagTemplate] != "web" || tags[amazon.TagToken] == "" {
							t.Errorf("%s of %s: %v", action, kind, tags)
						}
					}
				}
				if len(m.of(action)) != 1 {
					t.Errorf("%d calls of %s", len(m.of(action)), action)
				}
			}
			if f := m.of("RunInstances")[0]; f.Has("MetadataOptions.InstanceMetadataTags") {
				t.Errorf("asked %v", f)
			}
			for _, f := range m.of("CreateTags") { // what a build learns only later
				for k, v := range f {
					if strings.HasSuffix(k, ".Key") && !slices.Contains([]string{amazon.TagState, amazon.TagKey, "Name", "bake:tags"}, v[0]) {
						t.Errorf("%s is set afterwards", v[0])
					}
				}
			}
		})
	}
}

// TestCreatingCallsCarryTheTokenOfTheJournal: a process that goes on after a
// crash repeats the token, and so does not make a thing twice even if AWS does
// not find the first by its tags yet.
func TestCreatingCallsCarryTheTokenOfTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.between(nil)
	if _, err := w.bakeThrough(m, swept); err != nil {
		t.Fatal(err)
	}
	for action, after := range map[string]string{"RunInstances": "-0", "CreateVolume": "", "CopyImage": ""} {
		all := m.of(action)
		if len(all) == 0 {
			t.Errorf("no call of %s", action)
		}
		for _, f := range all {
			token := ""
			for k := range f {
				if strings.HasPrefix(k, "TagSpecification.1.") && f.Get(k) == amazon.TagToken {
					token = f.Get(strings.TrimSuffix(k, "Key") + "Value")
				}
			}
			if token == "" || f.Get("ClientToken") != token+after {
				t.Errorf("%s has the client token %q, its tag is %q", action, f.Get("ClientToken"), token)
			}
		}
	}
}
