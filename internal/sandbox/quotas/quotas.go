// Package quotas is the sandbox's Service Quotas: the limits that builds and
// deployments look at, with AWS's default values. Nothing enforces them.
package quotas

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"

	"bake/internal/sandbox/api"
)

// T is Service Quotas of all accounts and regions.
type T struct {
	mu     sync.Mutex
	values map[string]float64 // account/region/service/code that differ from the default
}

// New returns a Service Quotas in which every value is AWS's default.
func New(*api.World) *T { return &T{values: map[string]float64{}} }

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.values)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.values)
}

// Set changes a quota of an account in a region.
func (t *T) Set(account, region, service, code string, value float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[account+"/"+region+"/"+service+"/"+code] = value
}

type limit struct {
	service, serviceName, code, name string
	value                            float64
	adjustable                       bool
}

// defaults are AWS's, of new accounts (docs.aws.amazon.com/general/latest/gr/aws-service-information.html).
func defaults() []limit {
	return []limit{
		{"ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", "L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5, true},
		{"ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", "L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 5, true},
		{"ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", "L-B665C33B", "AMIs", 50000, true},
		{"ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", "L-0E3CBAB9", "Public AMIs", 5, true},
		{"ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", "L-7FA2C5BA", "AMI sharing", 1000, true},
		{"ebs", "Amazon Elastic Block Store (Amazon EBS)", "L-309BACF6", "Snapshots per Region", 100000, true},
		{"ebs", "Amazon Elastic Block Store (Amazon EBS)", "L-7A658B76", "Storage for General Purpose SSD (gp3) volumes, in TiB", 50, true},
		{"ecs", "Amazon Elastic Container Service (Amazon ECS)", "L-21C621EB", "Clusters per account", 10000, true},
		{"ecs", "Amazon Elastic Container Service (Amazon ECS)", "L-9EF96962", "Services per cluster", 5000, true},
		{"ecs", "Amazon Elastic Container Service (Amazon ECS)", "L-D1EFC4B9", "Tasks per service", 5000, true},
		{"fargate", "AWS Fargate", "L-3032A538", "Fargate On-Demand vCPU resource count", 6, true},
		{"fargate", "AWS Fargate", "L-36FBB829", "Fargate Spot vCPU resource count", 6, true},
		{"ecr", "Amazon Elastic Container Registry (Amazon ECR)", "L-CFEB8E8D", "Registered repositories", 100000, true},
		{"ecr", "Amazon Elastic Container Registry (Amazon ECR)", "L-03A36CE1", "Images per repository", 100000, true},
		{"elasticloadbalancing", "Elastic Load Balancing (ELB)", "L-B22855CB", "Target Groups per Region", 3000, true},
	}
}

// Service is Service Quotas as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "servicequotas", Protocol: api.JSON, Target: "ServiceQuotasV20190624", Control: t.knobs(), Actions: map[string]api.Action{
		"GetServiceQuota":             api.Do(t.get),
		"GetAWSDefaultServiceQuota":   api.Do(t.getDefault),
		"ListServiceQuotas":           api.Do(t.list),
		"ListAWSDefaultServiceQuotas": api.Do(t.listDefaults),
		"ListServices":                api.Do(t.listServices),
	}}
}

// knobs lets a quota be changed: POST /_sandbox/servicequotas/set
// {"account": ..., "region": ..., "service": "ecs", "code": "L-...", "value": 1}.
func (t *T) knobs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Account, Region, Service, Code string
			Value                          float64
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		t.Set(in.Account, in.Region, in.Service, in.Code, in.Value)
	})
}

type quota struct {
	ServiceCode, ServiceName, QuotaArn, QuotaCode, QuotaName string
	Value                                                    float64
	Unit                                                     string
	Adjustable, GlobalQuota                                  bool
}

type quotaIn struct{ ServiceCode, QuotaCode, NextToken, ContextId, QuotaAppliedAtLevel string }

type listIn struct {
	quotaIn
	MaxResults int
}

type quotaOut struct{ Quota quota }

type quotasOut struct{ Quotas []quota }

// all returns the quotas of a service; only the one with the code, if there is one.
func (t *T) all(c *api.Call, service, code string, applied bool) ([]quota, error) {
	known := false
	var out []quota
	for _, l := range defaults() {
		known = known || l.service == service
		if l.service != service || code != "" && l.code != code {
			continue
		}
		q := quota{l.service, l.serviceName, "arn:aws:servicequotas:" + c.Region + ":" + c.Account + ":" + l.service + "/" + l.code, l.code, l.name, l.value, "None", l.adjustable, false}
		t.mu.Lock()
		if v, ok := t.values[c.Account+"/"+c.Region+"/"+l.service+"/"+l.code]; ok && applied {
			q.Value = v
		}
		t.mu.Unlock()
		out = append(out, q)
	}
	if !known || code != "" && len(out) == 0 {
		return nil, api.Errorf("NoSuchResourceException", "The request failed because the specified service or quota does not exist: bake's sandbox does not know %s %s", service, code)
	}
	return out, nil
}

func (t *T) get(_ context.Context, c *api.Call, in *quotaIn) (*quotaOut, error) {
	all, err := t.all(c, in.ServiceCode, in.QuotaCode, true)
	if err != nil {
		return nil, err
	}
	return &quotaOut{all[0]}, nil
}

func (t *T) getDefault(_ context.Context, c *api.Call, in *quotaIn) (*quotaOut, error) {
	all, err := t.all(c, in.ServiceCode, in.QuotaCode, false)
	if err != nil {
		return nil, err
	}
	return &quotaOut{all[0]}, nil
}

func (t *T) list(_ context.Context, c *api.Call, in *listIn) (*quotasOut, error) {
	all, err := t.all(c, in.ServiceCode, "", true)
	return &quotasOut{all}, err
}

func (t *T) listDefaults(_ context.Context, c *api.Call, in *listIn) (*quotasOut, error) {
	all, err := t.all(c, in.ServiceCode, "", false)
	return &quotasOut{all}, err
}

type service struct{ ServiceCode, ServiceName string }

type servicesOut struct{ Services []service }

func (t *T) listServices(context.Context, *api.Call, *struct {
	NextToken  string
	MaxResults int
}) (*servicesOut, error) {
	names := map[string]string{}
	for _, l := range defaults() {
		names[l.service] = l.serviceName
	}
	var out servicesOut
	for _, code := range slices.Sorted(maps.Keys(names)) {
		out.Services = append(out.Services, service{code, names[code]})
	}
	return &out, nil
}
