package image

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"bake/templates"
)

// descriptionMax is how long an AMI's description may be (EC2 API reference).
const descriptionMax = 255

// deprecationMax is how far ahead an AMI may be deprecated.
const deprecationMax = 10 * 365 * 24 * time.Hour

// Validate checks names, tags, keys and copies before anything is called.
func (o *AMI) Validate(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	ds = append(ds, checkTexts(b, o.Name, o.Description)...)
	ds = append(ds, checkTags(b.At("tags"), o.Tags)...)
	ds = append(ds, checkTags(b.At("snapshot_tags"), o.SnapshotTags)...)
	ds = append(ds, checkKey(b, o.Encrypt, o.KMSKey)...)
	ds = append(ds, o.checkRegions(b)...)
	ds = append(ds, o.checkDeprecation(b)...)
	if o.TPM != "" && o.BootMode != "uefi" && !b.At("boot_mode").Unresolved() {
		d := b.At("tpm_support").Errorf("tpm_support needs boot_mode: uefi")
		d.Hint = "NitroTPM works only on machines that boot with UEFI"
		ds = append(ds, d)
	}
	if o.Protection.Cooldown && !o.Protection.Enabled && !b.At("deregistration_protection").Unresolved() {
		ds = append(ds, b.At("deregistration_protection", "cooldown").Errorf("cooldown without enabled: true protects nothing"))
	}
	if o.Keep > 0 && o.IfExists == IfExistsKeep {
		ds = append(ds, b.At("keep").Errorf("keep and if_exists: keep exclude each other"))
	}
	return ds
}

func checkTexts(b templates.Block, name, description string) templates.Diagnostics {
	var ds templates.Diagnostics
	if name != "" {
		if err := CheckName(name); err != nil {
			d := b.At("name").Errorf("%v", err)
			d.Hint = nameHint(name)
			ds = append(ds, d)
		}
	}
	if n := utf8.RuneCountInString(description); n > descriptionMax {
		ds = append(ds, b.At("description").Errorf("the description has %d characters: AWS takes at most %d", n, descriptionMax))
	}
	return ds
}

// nameHint offers a name that AWS takes.
func nameHint(name string) string {
	if clean := cleanName(name); clean != name && CheckName(clean) == nil && len(name) <= nameMax {
		return fmt.Sprintf("%q would do", clean)
	}
	return ""
}

func checkTags(b templates.Block, tags map[string]string) templates.Diagnostics {
	var ds templates.Diagnostics
	for k, v := range tags {
		switch at := b.Key(k); {
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			ds = append(ds, at.Errorf("the tag %q: keys that begin with aws: are AWS's own", k))
		case strings.HasPrefix(k, "bake:"):
			ds = append(ds, at.Errorf("the tag %q: keys that begin with bake: are bake's own", k))
		case k == "":
			ds = append(ds, at.Errorf("a tag has no key"))
		case utf8.RuneCountInString(k) > tagKeyMax:
			ds = append(ds, at.Errorf("the key of the tag %q is longer than %d characters", k, tagKeyMax))
		case utf8.RuneCountInString(v) > tagValueMax:
			ds = append(ds, b.At(k).Errorf("the value of the tag %q is longer than %d characters", k, tagValueMax))
		}
	}
	if len(tags) > tagsMax {
		ds = append(ds, b.Errorf("there are %d tags: AWS takes 50 on one resource, of which bake uses 12", len(tags)))
	}
	return ds
}

// checkKey looks at the form of a KMS key's name.
func checkKey(b templates.Block, encrypt *bool, key string) templates.Diagnostics {
	if key == "" {
		return nil
	}
	var ds templates.Diagnostics
	if encrypt != nil && !*encrypt {
		ds = append(ds, b.At("kms_key").Errorf("kms_key and encrypt: false exclude each other"))
	}
	if !keyName.MatchString(key) {
		d := b.At("kms_key").Errorf("%q does not name a KMS key", key)
		d.Hint = "a key id, an ARN, alias/NAME or an alias's ARN"
		if !strings.ContainsAny(key, ":/") {
			d.Hint += fmt.Sprintf("; did you mean alias/%s?", key)
		}
		ds = append(ds, d)
	}
	return ds
}

func (o *AMI) checkRegions(b templates.Block) templates.Diagnostics {
	var ds templates.Diagnostics
	seen := map[string]bool{}
	for i, c := range o.Regions {
		at := b.At("regions", fmt.Sprint(i))
		if c.Region == "" {
			continue // not known yet
		}
		if who := c.who(); seen[who] {
			ds = append(ds, at.Errorf("there are two copies in %s for the same account", c.Region))
		} else {
			seen[who] = true
		}
		ds = append(ds, checkTexts(at, c.Name, c.Description)...)
		ds = append(ds, checkTags(at.At("tags"), c.Tags)...)
		ds = append(ds, checkKey(at, c.Encrypt, c.KMSKey)...)
		ds = append(ds, o.checkCopyKey(at, c)...)
	}
	return ds
}

// checkCopyKey finds what cannot be encrypted with the AMI's own key, and what
// cannot be decrypted again.
func (o *AMI) checkCopyKey(at templates.Block, c Copy) templates.Diagnostics {
	encrypted := o.KMSKey != "" || o.Encrypt != nil && *o.Encrypt
	if encrypted && c.Encrypt != nil && !*c.Encrypt {
		return templates.Diagnostics{at.At("encrypt").Errorf("a copy of an encrypted AMI is always encrypted")}
	}
	if o.KMSKey == "" || c.KMSKey != "" || travels(o.KMSKey) {
		return nil
	}
	d := at.Errorf("the copy in %s has no kms_key, and the AMI's key %s is of one region only", c.Region, o.KMSKey)
	d.Hint = fmt.Sprintf("{region: %s, kms_key: ...}, or name an alias/NAME that exists in every region, or a multi-Region key (mrk-...)", c.Region)
	return templates.Diagnostics{d}
}

func (o *AMI) checkDeprecation(b templates.Block) templates.Diagnostics {
	if o.DeprecateAt == "" {
		return nil
	}
	at := b.At("deprecate_at")
	when, err := parseDate(o.DeprecateAt)
	switch {
	case err != nil:
		d := at.Errorf("%q is not a time", o.DeprecateAt)
		d.Hint = "2027-01-31, or 2027-01-31T12:00:00Z"
		return templates.Diagnostics{d}
	case o.DeprecateAfter > 0:
		return templates.Diagnostics{at.Errorf("deprecate_at and deprecate_after exclude each other")}
	case time.Until(when) > deprecationMax:
		return templates.Diagnostics{at.Errorf("AWS deprecates an AMI at most ten years ahead")}
	}
	return nil
}

// parseDate reads a date, or a time with its zone.
func parseDate(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

// who is the copy's place and account as the template tells them.
func (c Copy) who() string {
	parts := []string{c.Region, c.Profile}
	for _, r := range c.Roles {
		parts = append(parts, r.ARN)
	}
	return strings.Join(slices.Clip(parts), " ")
}
