package image_test

import (
	"strings"
	"testing"

	"bake/internal/sandbox/ec2"
)

func TestACopyThatComesToNothingTellsWhyAndIsMadeByTheNextRun(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"told", "after a crash"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.frozen("web", "")
			outputs := "  - ami: {name: web, regions: [us-east-1]}\n"
			w.box.Services.EC2.Tune(func(k *ec2.Knobs) {
				k.Doomed = []ec2.Doom{{Kind: "image", Region: away, Code: "Client.InternalError", Message: "Given key ID is not accessible"}}
			})
			r := w.newRun(outputs)
			if how == "told" {
				_, err := r.do(t.Context(), nil)
				if err == nil || !strings.Contains(err.Error(), "Given key ID is not accessible (Client.InternalError)") {
					t.Errorf("error %v", err)
				}
				if got := names(w.images(w.ec2(away))); len(got) != 0 || len(w.snapshots(w.ec2(away))) != 0 {
					t.Errorf("%q is left", got)
				}
			} else {
				w.killAt("CopyImage").do(r)
			}
			w.publish(outputs)
			w.only(away, "web")
			if n := len(w.snapshots(w.ec2(away))); n != 1 {
				t.Errorf("%d snapshots", n)
			}
		})
	}
}

func TestWhatTheMarketplaceBillsForKeepsItsCodeAndStaysInItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	from := w.frozen("bought", "")
	w.box.Services.EC2.Tune(func(k *ec2.Knobs) { k.Products = map[string]string{"bought": "8a7d6c"} })
	w.calls()
	w.refuse("  - ami: {name: bought, launch_permissions: {public: true}}\n", "product code of the AWS Marketplace (8a7d6c)")
	w.refuse("  - ami: {name: bought, regions: [{region: us-east-1, assume_role: ["+w.role(other, "share")+"]}]}\n", "AWS bills for what is on it")
	if got := w.calls()["ec2:CopyImage"]; got != 0 {
		t.Errorf("%d copies", got)
	}
	w.ami = from
	w.publish("  - ami: {name: web}\n")
	calls := w.calls()
	if i := w.only(home, "web"); len(i.ProductCodes) != 1 || *i.ProductCodes[0].ProductCodeId != "8a7d6c" || calls["ec2:RegisterImage"] != 0 || calls["ec2:CopyImage"] != 1 {
		t.Errorf("codes %v; calls %v", i.ProductCodes, calls)
	}
}
