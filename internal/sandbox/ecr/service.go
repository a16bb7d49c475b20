package ecr

import (
	"encoding/json"
	"net/http"

	"bake/internal/sandbox/api"
)

// Service is ECR as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "ecr", Protocol: api.JSON, Target: "AmazonEC2ContainerRegistry_V20150921", Control: t.control(), Actions: map[string]api.Action{
		"GetAuthorizationToken": api.Do(t.getAuthorizationToken),
		"CreateRepository":      api.Do(t.createRepository),
		"DescribeRepositories":  api.Do(t.describeRepositories),
		"DeleteRepository":      api.Do(t.deleteRepository),
		"PutImageTagMutability": api.Do(t.putImageTagMutability),
		"TagResource":           api.Do(t.tagResource),
		"UntagResource":         api.Do(t.untagResource),
		"ListTagsForResource":   api.Do(t.listTagsForResource),

		"PutImage":         api.Do(t.putImage),
		"BatchGetImage":    api.Do(t.batchGetImage),
		"BatchDeleteImage": api.Do(t.batchDeleteImage),
		"ListImages":       api.Do(t.listImages),
		"DescribeImages":   api.Do(t.describeImages),

		"InitiateLayerUpload":         api.Do(t.initiateLayerUpload),
		"UploadLayerPart":             api.Do(t.uploadLayerPart),
		"CompleteLayerUpload":         api.Do(t.completeLayerUpload),
		"BatchCheckLayerAvailability": api.Do(t.batchCheckLayerAvailability),
		"GetDownloadUrlForLayer":      api.Do(t.getDownloadURLForLayer),

		"PutImageScanningConfiguration":           api.Do(t.putImageScanningConfiguration),
		"StartImageScan":                          api.Do(t.startImageScan),
		"DescribeImageScanFindings":               api.Do(t.describeImageScanFindings),
		"GetRegistryScanningConfiguration":        api.Do(t.getRegistryScanningConfiguration),
		"PutRegistryScanningConfiguration":        api.Do(t.putRegistryScanningConfiguration),
		"BatchGetRepositoryScanningConfiguration": api.Do(t.batchGetRepositoryScanningConfiguration),

		"SetRepositoryPolicy":    api.Do(t.setRepositoryPolicy),
		"GetRepositoryPolicy":    api.Do(t.getRepositoryPolicy),
		"DeleteRepositoryPolicy": api.Do(t.deleteRepositoryPolicy),
		"PutRegistryPolicy":      api.Do(t.putRegistryPolicy),
		"GetRegistryPolicy":      api.Do(t.getRegistryPolicy),
		"DeleteRegistryPolicy":   api.Do(t.deleteRegistryPolicy),
		"GetAccountSetting":      api.Do(t.getAccountSetting),
		"PutAccountSetting":      api.Do(t.putAccountSetting),

		"PutLifecyclePolicy":          api.Do(t.putLifecyclePolicy),
		"GetLifecyclePolicy":          api.Do(t.getLifecyclePolicy),
		"DeleteLifecyclePolicy":       api.Do(t.deleteLifecyclePolicy),
		"StartLifecyclePolicyPreview": api.Do(t.startLifecyclePolicyPreview),
		"GetLifecyclePolicyPreview":   api.Do(t.getLifecyclePolicyPreview),

		"DescribeRegistry":               api.Do(t.describeRegistry),
		"PutReplicationConfiguration":    api.Do(t.putReplicationConfiguration),
		"DescribeImageReplicationStatus": api.Do(t.describeImageReplicationStatus),

		"CreatePullThroughCacheRule":    api.Do(t.createPullThroughCacheRule),
		"DescribePullThroughCacheRules": api.Do(t.describePullThroughCacheRules),
		"UpdatePullThroughCacheRule":    api.Do(t.updatePullThroughCacheRule),
		"DeletePullThroughCacheRule":    api.Do(t.deletePullThroughCacheRule),

		"CreateRepositoryCreationTemplate":    api.Do(t.createRepositoryCreationTemplate),
		"DescribeRepositoryCreationTemplates": api.Do(t.describeRepositoryCreationTemplates),
		"UpdateRepositoryCreationTemplate":    api.Do(t.updateRepositoryCreationTemplate),
		"DeleteRepositoryCreationTemplate":    api.Do(t.deleteRepositoryCreationTemplate),
	}}
}

// control lets the knobs be turned over HTTP:
//
//	POST /_sandbox/ecr/knobs     {"token_lasts": "1m", "cut_after": 1000000, ...}
//	POST /_sandbox/ecr/findings  {"account": ..., "region": ..., "repository": ..., "image": "*", "findings": [...]}
func (t *T) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /knobs", func(w http.ResponseWriter, req *http.Request) {
		var k Knobs
		if err := json.NewDecoder(req.Body).Decode(&k); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		t.Turn(k)
	})
	mux.HandleFunc("POST /findings", func(w http.ResponseWriter, req *http.Request) {
		var in struct {
			Account, Region, Repository, Image string
			Findings                           []Finding
		}
		err := json.NewDecoder(req.Body).Decode(&in)
		if err == nil {
			if in.Account == "" {
				in.Account = t.world.Account
			}
			err = t.Find(in.Account, in.Region, in.Repository, in.Image, in.Findings)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return mux
}
