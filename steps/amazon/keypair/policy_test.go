package keypair_test

import (
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// published imports, leaves, tags and replaces a key pair under a policy.
func published(t *testing.T, limit func(permit.Document) permit.Document) error {
	t.Helper()
	box := sandboxtest.Start(t)
	first, second := key(t), key(t)
	output := func(k keypair.Key, cloud *amazon.Cloud, team string) *keypair.Output {
		o := keypair.New(cloud)().(*keypair.Output)
		o.Name, o.Region, o.PublicKey, o.Tags = "ops", region, string(k.Material()), map[string]string{"team": team}
		return o
	}
	doc := permittest.Document("web", output(first, nil, "web"))
	cloud := permittest.Limit(t, box, limit(doc))
	for _, o := range []*keypair.Output{output(first, cloud, "web"), output(first, cloud, "web"), output(first, cloud, "ops"), output(second, cloud, "ops")} {
		if _, err := o.Publish(t.Context(), buildertest.Scope(t, builder.Catalog{}, t.TempDir()), builder.Artifact{}); err != nil {
			return err
		}
	}
	permittest.Covers(t, box, doc)
	permittest.Needed(t, box, doc, map[string]string{"TagNewKeyPairs ec2:CreateTags": "an older pair's other tags, which the new one gets"})
	return nil
}

func TestThePolicyIsEnoughAndMostOfItsStatementsAreNeeded(t *testing.T) {
	if err := published(t, func(d permit.Document) permit.Document { return d }); err != nil {
		t.Errorf("under exactly the policy: %v", err)
	}
	// TagKeyPairs lets the same tags be given to new ones, unless an older pair has more.
	for _, sid := range []string{"Read", "KeepKeyPairs", "TagKeyPairs"} {
		if published(t, func(d permit.Document) permit.Document { return permittest.Without(t, d, sid) }) == nil {
			t.Errorf("it works without %s", sid)
		}
	}
}

func TestThePolicyIsForTheKeyPairOfTheNameAlone(t *testing.T) {
	box := sandboxtest.Start(t)
	o := keypair.New(nil)().(*keypair.Output)
	o.Name, o.Region = "ops", region
	cloud := permittest.Limit(t, box, permittest.Document("web", o))
	other := keypair.New(cloud)().(*keypair.Output)
	other.Name, other.Region, other.PublicKey = "other", region, string(key(t).Material())
	if _, err := other.Publish(t.Context(), buildertest.Scope(t, builder.Catalog{}, t.TempDir()), builder.Artifact{}); err == nil {
		t.Error("another key pair was imported")
	}
}
