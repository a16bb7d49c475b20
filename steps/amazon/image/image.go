// Package image publishes Amazon machine images: the output `ami` with its
// permissions, copies and replacement of older images, and the outputs that
// point others to an image, `ssm_parameter` and `launch_template`.
package image

import (
	"time"

	"bake/builder"
	"bake/steps/amazon"
)

// AMI is the output `ami`: what the image is called, who may use it and where
// it is copied to. It is brought about on every run, also when the image was
// not built anew.
type AMI struct {
	Name         string            `yaml:"name" bake:"main,required" doc:"Name of the AMI, 3 to 128 characters, unique in each region."`
	Description  string            `yaml:"description" doc:"Description of the AMI, at most 255 characters."`
	Tags         map[string]string `yaml:"tags" doc:"Tags of the AMI and of its snapshots. A tag that is taken out of the template is removed."`
	SnapshotTags map[string]string `yaml:"snapshot_tags" doc:"Tags of the snapshots alone; they win over tags."`

	LaunchPermissions Permissions `yaml:"launch_permissions" doc:"Who else may launch the AMI. What the template does not name is removed."`
	ShareSnapshots    bool        `yaml:"share_snapshots" default:"true" doc:"Let the accounts that may launch the AMI make volumes from its snapshots, so that they can copy it."`

	Encrypt *bool  `yaml:"encrypt" doc:"Encrypt the snapshots; default: as the source AMI and the account's setting have it."`
	KMSKey  string `yaml:"kms_key" doc:"KMS key for encryption: key id, ARN, alias/NAME or alias ARN; default: the account's default key for EBS."`
	Regions []Copy `yaml:"regions" doc:"Where copies of the AMI are made, all at once."`

	IfExists string `yaml:"if_exists" enum:"fail|replace|keep" default:"fail" doc:"What to do if another AMI of this account has the name: stop before anything starts, make the new one and then remove the old one, or keep the old one and build nothing."`
	Keep     int    `yaml:"keep" min:"1" doc:"How many AMIs of this template's build to keep, this one included. Older ones are removed unless they are in use, shared or protected."`

	BootMode string `yaml:"boot_mode" enum:"legacy-bios|uefi|uefi-preferred" doc:"Boot mode; default: that of the source AMI."`
	TPM      string `yaml:"tpm_support" enum:"v2.0" doc:"NitroTPM; needs boot_mode uefi."`
	ENA      *bool  `yaml:"ena_support" doc:"Enhanced networking; default: as the source AMI."`
	IMDS     string `yaml:"imds_support" enum:"v2.0|optional" default:"v2.0" doc:"v2.0: instances require session tokens of the metadata service. It cannot be taken back."`

	DeprecateAfter time.Duration `yaml:"deprecate_after" min:"1h" max:"3650d" doc:"Deprecate the AMI so long after it was made."`
	DeprecateAt    string        `yaml:"deprecate_at" doc:"Deprecate the AMI at a time, 2027-01-31 or 2027-01-31T12:00:00Z."`
	Protection     Protection    `yaml:"deregistration_protection" doc:"Protect the AMI against being deregistered: true, or {enabled: true, cooldown: true}."`

	Timeout time.Duration `yaml:"timeout" default:"90m" min:"1m" doc:"How long to wait for an AMI, or for a copy, to become available."`

	deps Deps
}

// Permissions say who else may launch an AMI (ModifyImageAttribute).
type Permissions struct {
	Accounts            []string `yaml:"accounts" pattern:"^[0-9]{12}$" doc:"Account ids, 12 digits."`
	Organizations       []string `yaml:"organizations" pattern:"^arn:[a-z0-9-]+:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}$" doc:"ARNs of organizations."`
	OrganizationalUnits []string `yaml:"organizational_units" pattern:"^arn:[a-z0-9-]+:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$" doc:"ARNs of organizational units."`
	Public              bool     `yaml:"public" doc:"Let every AWS account launch the AMI."`
}

// A Copy is the AMI in another region or another account.
type Copy struct {
	Region            string            `yaml:"region" bake:"main,required" pattern:"^[a-z]{2}(-[a-z]+)+-[0-9]+$" doc:"Region to copy to."`
	Profile           string            `yaml:"profile" doc:"Profile of ~/.aws/config of another account; default: the access that made the AMI."`
	Roles             []amazon.Role     `yaml:"assume_role" doc:"Roles to assume, one with the rights of the one before; the last may be of another account."`
	Name              string            `yaml:"name" doc:"Name of the copy; default: that of the AMI."`
	Description       string            `yaml:"description" doc:"Description of the copy; default: that of the AMI."`
	Tags              map[string]string `yaml:"tags" doc:"Tags of the copy, beside those of the AMI; they win."`
	Encrypt           *bool             `yaml:"encrypt" doc:"Encrypt the copy; default: as the AMI."`
	KMSKey            string            `yaml:"kms_key" doc:"KMS key of that region: key id, ARN, alias/NAME or alias ARN."`
	LaunchPermissions *Permissions      `yaml:"launch_permissions" doc:"Who else may launch the copy; default: as for the AMI."`
}

// Protection is AWS's deregistration protection.
type Protection struct {
	Enabled  bool `yaml:"enabled" bake:"main" doc:"Protect the AMI."`
	Cooldown bool `yaml:"cooldown" doc:"Keep it protected for 24 hours after protection is switched off."`
}

// Accepts says that only an AMI can be published as one.
func (o *AMI) Accepts(k builder.ArtifactKind) bool { return k == builder.AMIArtifact }
