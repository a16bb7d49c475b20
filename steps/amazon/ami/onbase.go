package ami

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/templates"
)

// OnBase starts from the AMI that another build of the template makes. It is
// what the source `build` is for such a build.
type OnBase struct{ Build }

// With returns the build's settings with the way to AWS.
func (s Build) With(cloud *amazon.Cloud) Build {
	s.cloud = cloud
	return s
}

// Check is what is wrong with the keys that stand beside the source's kind.
func (s *Build) Check(b templates.Block) templates.Diagnostics { return s.check(b) }

// IsZero reports whether the template says nothing of them.
func (s *Build) IsZero() bool {
	data, err := json.Marshal(s)
	none, nerr := json.Marshal(&Build{})
	return err == nil && nerr == nil && string(data) == string(none)
}

// Makes says that the artifact is an AMI.
func (s *OnBase) Makes() builder.ArtifactKind { return builder.AMIArtifact }

// Variant covers what the build's own block adds to its base.
func (s *OnBase) Variant() builder.Digest { return s.digest(pinned{}) }

// Pin is not asked: the base is what the other build makes.
func (s *OnBase) Pin(context.Context, builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{Digest: builder.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(nil)))}, nil
}

// Open starts an instance of the other build's AMI, or of the candidate.
func (s *OnBase) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	if from.Base == nil || from.Base.AMI == nil {
		return builder.Machine{}, errors.New("there is no AMI to start from")
	}
	access, err := amazon.ParseAccess(from.Base.AMI.Access)
	if err != nil {
		return builder.Machine{}, err
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return builder.Machine{}, err
	}
	where, err := s.machine().Resolve(ctx, cfg, types.ArchitectureValues(from.Base.AMI.Architecture))
	if err != nil {
		return builder.Machine{}, s.cloud.Explain(ctx, access, err)
	}
	if from.Test {
		return s.openTest(ctx, sc, from, access, where)
	}
	found, err := Choice{ID: from.Base.AMI.ID, Deprecated: true}.find(ctx, cfg)
	if err != nil {
		return builder.Machine{}, s.cloud.Explain(ctx, access, err)
	}
	user := from.Base.AMI.User
	if s.SSH.User != "" {
		user = s.SSH.User
	}
	return s.open(ctx, sc, access, pinned{Access: access.Where(), Image: baseOf(found, user), Launch: where}, from)
}
