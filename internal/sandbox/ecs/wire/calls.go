// Package wire has the shapes of ECS's API: what its actions take and answer, with
// the names that members have in JSON. Lists and maps that AWS answers though
// they are empty are not nil.
package wire

// CreateClusterInput is what CreateCluster takes.
type CreateClusterInput struct {
	CapacityProviders               []string                              `json:"capacityProviders,omitzero"`
	ClusterName                     string                                `json:"clusterName,omitzero"`
	Configuration                   *ClusterConfiguration                 `json:"configuration,omitzero"`
	DefaultCapacityProviderStrategy []CapacityProviderStrategyItem        `json:"defaultCapacityProviderStrategy,omitzero"`
	ServiceConnectDefaults          *ClusterServiceConnectDefaultsRequest `json:"serviceConnectDefaults,omitzero"`
	Settings                        []ClusterSetting                      `json:"settings,omitzero"`
	Tags                            []Tag                                 `json:"tags,omitzero"`
}

// CreateClusterOutput is what CreateCluster answers.
type CreateClusterOutput struct {
	Cluster *Cluster `json:"cluster,omitzero"`
}

// UpdateClusterInput is what UpdateCluster takes.
type UpdateClusterInput struct {
	Cluster                string                                `json:"cluster,omitzero"`
	Configuration          *ClusterConfiguration                 `json:"configuration,omitzero"`
	ServiceConnectDefaults *ClusterServiceConnectDefaultsRequest `json:"serviceConnectDefaults,omitzero"`
	Settings               []ClusterSetting                      `json:"settings,omitzero"`
}

// UpdateClusterOutput is what UpdateCluster answers.
type UpdateClusterOutput struct {
	Cluster *Cluster `json:"cluster,omitzero"`
}

// UpdateClusterSettingsInput is what UpdateClusterSettings takes.
type UpdateClusterSettingsInput struct {
	Cluster  string           `json:"cluster,omitzero"`
	Settings []ClusterSetting `json:"settings,omitzero"`
}

// UpdateClusterSettingsOutput is what UpdateClusterSettings answers.
type UpdateClusterSettingsOutput struct {
	Cluster *Cluster `json:"cluster,omitzero"`
}

// DescribeClustersInput is what DescribeClusters takes.
type DescribeClustersInput struct {
	Clusters []string `json:"clusters,omitzero"`
	Include  []string `json:"include,omitzero"`
}

// DescribeClustersOutput is what DescribeClusters answers.
type DescribeClustersOutput struct {
	Clusters []Cluster `json:"clusters,omitzero"`
	Failures []Failure `json:"failures,omitzero"`
}

// ListClustersInput is what ListClusters takes.
type ListClustersInput struct {
	MaxResults *int32 `json:"maxResults,omitzero"`
	NextToken  string `json:"nextToken,omitzero"`
}

// ListClustersOutput is what ListClusters answers.
type ListClustersOutput struct {
	ClusterArns []string `json:"clusterArns,omitzero"`
	NextToken   string   `json:"nextToken,omitzero"`
}

// DeleteClusterInput is what DeleteCluster takes.
type DeleteClusterInput struct {
	Cluster string `json:"cluster,omitzero"`
}

// DeleteClusterOutput is what DeleteCluster answers.
type DeleteClusterOutput struct {
	Cluster *Cluster `json:"cluster,omitzero"`
}

// PutClusterCapacityProvidersInput is what PutClusterCapacityProviders takes.
type PutClusterCapacityProvidersInput struct {
	CapacityProviders               []string                       `json:"capacityProviders,omitzero"`
	Cluster                         string                         `json:"cluster,omitzero"`
	DefaultCapacityProviderStrategy []CapacityProviderStrategyItem `json:"defaultCapacityProviderStrategy,omitzero"`
}

// PutClusterCapacityProvidersOutput is what PutClusterCapacityProviders answers.
type PutClusterCapacityProvidersOutput struct {
	Cluster *Cluster `json:"cluster,omitzero"`
}

// CreateCapacityProviderInput is what CreateCapacityProvider takes.
type CreateCapacityProviderInput struct {
	Name                     string                    `json:"name,omitzero"`
	AutoScalingGroupProvider *AutoScalingGroupProvider `json:"autoScalingGroupProvider,omitzero"`
	Cluster                  string                    `json:"cluster,omitzero"`
	Tags                     []Tag                     `json:"tags,omitzero"`
}

// CreateCapacityProviderOutput is what CreateCapacityProvider answers.
type CreateCapacityProviderOutput struct {
	CapacityProvider *CapacityProvider `json:"capacityProvider,omitzero"`
}

// DescribeCapacityProvidersInput is what DescribeCapacityProviders takes.
type DescribeCapacityProvidersInput struct {
	CapacityProviders []string `json:"capacityProviders,omitzero"`
	Cluster           string   `json:"cluster,omitzero"`
	Include           []string `json:"include,omitzero"`
	MaxResults        *int32   `json:"maxResults,omitzero"`
	NextToken         string   `json:"nextToken,omitzero"`
}

// DescribeCapacityProvidersOutput is what DescribeCapacityProviders answers.
type DescribeCapacityProvidersOutput struct {
	CapacityProviders []CapacityProvider `json:"capacityProviders,omitzero"`
	Failures          []Failure          `json:"failures,omitzero"`
	NextToken         string             `json:"nextToken,omitzero"`
}

// DeleteCapacityProviderInput is what DeleteCapacityProvider takes.
type DeleteCapacityProviderInput struct {
	CapacityProvider string `json:"capacityProvider,omitzero"`
	Cluster          string `json:"cluster,omitzero"`
}

// DeleteCapacityProviderOutput is what DeleteCapacityProvider answers.
type DeleteCapacityProviderOutput struct {
	CapacityProvider *CapacityProvider `json:"capacityProvider,omitzero"`
}

// RegisterTaskDefinitionInput is what RegisterTaskDefinition takes.
type RegisterTaskDefinitionInput struct {
	ContainerDefinitions    []ContainerDefinition               `json:"containerDefinitions,omitzero"`
	Family                  string                              `json:"family,omitzero"`
	Cpu                     string                              `json:"cpu,omitzero"`
	EnableFaultInjection    *bool                               `json:"enableFaultInjection,omitzero"`
	EphemeralStorage        *EphemeralStorage                   `json:"ephemeralStorage,omitzero"`
	ExecutionRoleArn        string                              `json:"executionRoleArn,omitzero"`
	InferenceAccelerators   []InferenceAccelerator              `json:"inferenceAccelerators,omitzero"`
	IpcMode                 string                              `json:"ipcMode,omitzero"`
	Memory                  string                              `json:"memory,omitzero"`
	NetworkMode             string                              `json:"networkMode,omitzero"`
	PidMode                 string                              `json:"pidMode,omitzero"`
	PlacementConstraints    []TaskDefinitionPlacementConstraint `json:"placementConstraints,omitzero"`
	ProxyConfiguration      *ProxyConfiguration                 `json:"proxyConfiguration,omitzero"`
	RequiresCompatibilities []string                            `json:"requiresCompatibilities,omitzero"`
	RuntimePlatform         *RuntimePlatform                    `json:"runtimePlatform,omitzero"`
	Tags                    []Tag                               `json:"tags,omitzero"`
	TaskRoleArn             string                              `json:"taskRoleArn,omitzero"`
	Volumes                 []Volume                            `json:"volumes,omitzero"`
}

// RegisterTaskDefinitionOutput is what RegisterTaskDefinition answers.
type RegisterTaskDefinitionOutput struct {
	Tags           []Tag           `json:"tags,omitzero"`
	TaskDefinition *TaskDefinition `json:"taskDefinition,omitzero"`
}

// DescribeTaskDefinitionInput is what DescribeTaskDefinition takes.
type DescribeTaskDefinitionInput struct {
	TaskDefinition string   `json:"taskDefinition,omitzero"`
	Include        []string `json:"include,omitzero"`
}

// DescribeTaskDefinitionOutput is what DescribeTaskDefinition answers.
type DescribeTaskDefinitionOutput struct {
	Tags           []Tag           `json:"tags,omitzero"`
	TaskDefinition *TaskDefinition `json:"taskDefinition,omitzero"`
}

// DeregisterTaskDefinitionInput is what DeregisterTaskDefinition takes.
type DeregisterTaskDefinitionInput struct {
	TaskDefinition string `json:"taskDefinition,omitzero"`
}

// DeregisterTaskDefinitionOutput is what DeregisterTaskDefinition answers.
type DeregisterTaskDefinitionOutput struct {
	TaskDefinition *TaskDefinition `json:"taskDefinition,omitzero"`
}

// DeleteTaskDefinitionsInput is what DeleteTaskDefinitions takes.
type DeleteTaskDefinitionsInput struct {
	TaskDefinitions []string `json:"taskDefinitions,omitzero"`
}

// DeleteTaskDefinitionsOutput is what DeleteTaskDefinitions answers.
type DeleteTaskDefinitionsOutput struct {
	Failures        []Failure        `json:"failures,omitzero"`
	TaskDefinitions []TaskDefinition `json:"taskDefinitions,omitzero"`
}

// ListTaskDefinitionsInput is what ListTaskDefinitions takes.
type ListTaskDefinitionsInput struct {
	FamilyPrefix string `json:"familyPrefix,omitzero"`
	MaxResults   *int32 `json:"maxResults,omitzero"`
	NextToken    string `json:"nextToken,omitzero"`
	Sort         string `json:"sort,omitzero"`
	Status       string `json:"status,omitzero"`
}

// ListTaskDefinitionsOutput is what ListTaskDefinitions answers.
type ListTaskDefinitionsOutput struct {
	NextToken          string   `json:"nextToken,omitzero"`
	TaskDefinitionArns []string `json:"taskDefinitionArns,omitzero"`
}

// ListTaskDefinitionFamiliesInput is what ListTaskDefinitionFamilies takes.
type ListTaskDefinitionFamiliesInput struct {
	FamilyPrefix string `json:"familyPrefix,omitzero"`
	MaxResults   *int32 `json:"maxResults,omitzero"`
	NextToken    string `json:"nextToken,omitzero"`
	Status       string `json:"status,omitzero"`
}

// ListTaskDefinitionFamiliesOutput is what ListTaskDefinitionFamilies answers.
type ListTaskDefinitionFamiliesOutput struct {
	Families  []string `json:"families,omitzero"`
	NextToken string   `json:"nextToken,omitzero"`
}

// CreateServiceInput is what CreateService takes.
type CreateServiceInput struct {
	ServiceName                   string                         `json:"serviceName,omitzero"`
	AvailabilityZoneRebalancing   string                         `json:"availabilityZoneRebalancing,omitzero"`
	CapacityProviderStrategy      []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitzero"`
	ClientToken                   string                         `json:"clientToken,omitzero"`
	Cluster                       string                         `json:"cluster,omitzero"`
	DeploymentConfiguration       *DeploymentConfiguration       `json:"deploymentConfiguration,omitzero"`
	DeploymentController          *DeploymentController          `json:"deploymentController,omitzero"`
	DesiredCount                  *int32                         `json:"desiredCount,omitzero"`
	EnableECSManagedTags          bool                           `json:"enableECSManagedTags"`
	EnableExecuteCommand          bool                           `json:"enableExecuteCommand"`
	GatewayConnectors             []GatewayConnector             `json:"gatewayConnectors,omitzero"`
	HealthCheckGracePeriodSeconds *int32                         `json:"healthCheckGracePeriodSeconds,omitzero"`
	LaunchType                    string                         `json:"launchType,omitzero"`
	LoadBalancers                 []LoadBalancer                 `json:"loadBalancers,omitzero"`
	Monitoring                    *MonitoringConfiguration       `json:"monitoring,omitzero"`
	NetworkConfiguration          *NetworkConfiguration          `json:"networkConfiguration,omitzero"`
	PlacementConstraints          []PlacementConstraint          `json:"placementConstraints,omitzero"`
	PlacementStrategy             []PlacementStrategy            `json:"placementStrategy,omitzero"`
	PlatformVersion               string                         `json:"platformVersion,omitzero"`
	PropagateTags                 string                         `json:"propagateTags,omitzero"`
	Role                          string                         `json:"role,omitzero"`
	SchedulingStrategy            string                         `json:"schedulingStrategy,omitzero"`
	ServiceConnectConfiguration   *ServiceConnectConfiguration   `json:"serviceConnectConfiguration,omitzero"`
	ServiceRegistries             []ServiceRegistry              `json:"serviceRegistries,omitzero"`
	Tags                          []Tag                          `json:"tags,omitzero"`
	TaskDefinition                string                         `json:"taskDefinition,omitzero"`
	VolumeConfigurations          []ServiceVolumeConfiguration   `json:"volumeConfigurations,omitzero"`
	VpcLatticeConfigurations      []VpcLatticeConfiguration      `json:"vpcLatticeConfigurations,omitzero"`
}

// CreateServiceOutput is what CreateService answers.
type CreateServiceOutput struct {
	Service *Service `json:"service,omitzero"`
}

// UpdateServiceInput is what UpdateService takes.
type UpdateServiceInput struct {
	Service                       string                         `json:"service,omitzero"`
	AvailabilityZoneRebalancing   string                         `json:"availabilityZoneRebalancing,omitzero"`
	CapacityProviderStrategy      []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitzero"`
	Cluster                       string                         `json:"cluster,omitzero"`
	DeploymentConfiguration       *DeploymentConfiguration       `json:"deploymentConfiguration,omitzero"`
	DeploymentController          *DeploymentController          `json:"deploymentController,omitzero"`
	DesiredCount                  *int32                         `json:"desiredCount,omitzero"`
	EnableECSManagedTags          *bool                          `json:"enableECSManagedTags,omitzero"`
	EnableExecuteCommand          *bool                          `json:"enableExecuteCommand,omitzero"`
	ForceNewDeployment            bool                           `json:"forceNewDeployment"`
	GatewayConnectors             []GatewayConnector             `json:"gatewayConnectors,omitzero"`
	HealthCheckGracePeriodSeconds *int32                         `json:"healthCheckGracePeriodSeconds,omitzero"`
	LoadBalancers                 []LoadBalancer                 `json:"loadBalancers,omitzero"`
	Monitoring                    *MonitoringConfiguration       `json:"monitoring,omitzero"`
	NetworkConfiguration          *NetworkConfiguration          `json:"networkConfiguration,omitzero"`
	PlacementConstraints          []PlacementConstraint          `json:"placementConstraints,omitzero"`
	PlacementStrategy             []PlacementStrategy            `json:"placementStrategy,omitzero"`
	PlatformVersion               string                         `json:"platformVersion,omitzero"`
	PropagateTags                 string                         `json:"propagateTags,omitzero"`
	ServiceConnectConfiguration   *ServiceConnectConfiguration   `json:"serviceConnectConfiguration,omitzero"`
	ServiceRegistries             []ServiceRegistry              `json:"serviceRegistries,omitzero"`
	TaskDefinition                string                         `json:"taskDefinition,omitzero"`
	VolumeConfigurations          []ServiceVolumeConfiguration   `json:"volumeConfigurations,omitzero"`
	VpcLatticeConfigurations      []VpcLatticeConfiguration      `json:"vpcLatticeConfigurations,omitzero"`
}

// UpdateServiceOutput is what UpdateService answers.
type UpdateServiceOutput struct {
	Service *Service `json:"service,omitzero"`
}

// DescribeServicesInput is what DescribeServices takes.
type DescribeServicesInput struct {
	Services []string `json:"services,omitzero"`
	Cluster  string   `json:"cluster,omitzero"`
	Include  []string `json:"include,omitzero"`
}

// DescribeServicesOutput is what DescribeServices answers.
type DescribeServicesOutput struct {
	Failures []Failure `json:"failures,omitzero"`
	Services []Service `json:"services,omitzero"`
}

// ListServicesInput is what ListServices takes.
type ListServicesInput struct {
	Cluster                string `json:"cluster,omitzero"`
	LaunchType             string `json:"launchType,omitzero"`
	MaxResults             *int32 `json:"maxResults,omitzero"`
	NextToken              string `json:"nextToken,omitzero"`
	ResourceManagementType string `json:"resourceManagementType,omitzero"`
	SchedulingStrategy     string `json:"schedulingStrategy,omitzero"`
}

// ListServicesOutput is what ListServices answers.
type ListServicesOutput struct {
	NextToken   string   `json:"nextToken,omitzero"`
	ServiceArns []string `json:"serviceArns,omitzero"`
}

// DeleteServiceInput is what DeleteService takes.
type DeleteServiceInput struct {
	Service string `json:"service,omitzero"`
	Cluster string `json:"cluster,omitzero"`
	Force   *bool  `json:"force,omitzero"`
}

// DeleteServiceOutput is what DeleteService answers.
type DeleteServiceOutput struct {
	Service *Service `json:"service,omitzero"`
}

// RunTaskInput is what RunTask takes.
type RunTaskInput struct {
	TaskDefinition           string                         `json:"taskDefinition,omitzero"`
	CapacityProviderStrategy []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitzero"`
	ClientToken              string                         `json:"clientToken,omitzero"`
	Cluster                  string                         `json:"cluster,omitzero"`
	Count                    *int32                         `json:"count,omitzero"`
	EnableECSManagedTags     bool                           `json:"enableECSManagedTags"`
	EnableExecuteCommand     bool                           `json:"enableExecuteCommand"`
	Group                    string                         `json:"group,omitzero"`
	LaunchType               string                         `json:"launchType,omitzero"`
	NetworkConfiguration     *NetworkConfiguration          `json:"networkConfiguration,omitzero"`
	Overrides                *TaskOverride                  `json:"overrides,omitzero"`
	PlacementConstraints     []PlacementConstraint          `json:"placementConstraints,omitzero"`
	PlacementStrategy        []PlacementStrategy            `json:"placementStrategy,omitzero"`
	PlatformVersion          string                         `json:"platformVersion,omitzero"`
	PropagateTags            string                         `json:"propagateTags,omitzero"`
	ReferenceId              string                         `json:"referenceId,omitzero"`
	StartedBy                string                         `json:"startedBy,omitzero"`
	Tags                     []Tag                          `json:"tags,omitzero"`
	VolumeConfigurations     []TaskVolumeConfiguration      `json:"volumeConfigurations,omitzero"`
}

// RunTaskOutput is what RunTask answers.
type RunTaskOutput struct {
	Failures []Failure `json:"failures,omitzero"`
	Tasks    []Task    `json:"tasks,omitzero"`
}

// StartTaskInput is what StartTask takes.
type StartTaskInput struct {
	ContainerInstances   []string                  `json:"containerInstances,omitzero"`
	TaskDefinition       string                    `json:"taskDefinition,omitzero"`
	Cluster              string                    `json:"cluster,omitzero"`
	EnableECSManagedTags bool                      `json:"enableECSManagedTags"`
	EnableExecuteCommand bool                      `json:"enableExecuteCommand"`
	Group                string                    `json:"group,omitzero"`
	NetworkConfiguration *NetworkConfiguration     `json:"networkConfiguration,omitzero"`
	Overrides            *TaskOverride             `json:"overrides,omitzero"`
	PropagateTags        string                    `json:"propagateTags,omitzero"`
	ReferenceId          string                    `json:"referenceId,omitzero"`
	StartedBy            string                    `json:"startedBy,omitzero"`
	Tags                 []Tag                     `json:"tags,omitzero"`
	VolumeConfigurations []TaskVolumeConfiguration `json:"volumeConfigurations,omitzero"`
}

// StartTaskOutput is what StartTask answers.
type StartTaskOutput struct {
	Failures []Failure `json:"failures,omitzero"`
	Tasks    []Task    `json:"tasks,omitzero"`
}

// StopTaskInput is what StopTask takes.
type StopTaskInput struct {
	Task    string `json:"task,omitzero"`
	Cluster string `json:"cluster,omitzero"`
	Reason  string `json:"reason,omitzero"`
}

// StopTaskOutput is what StopTask answers.
type StopTaskOutput struct {
	Task *Task `json:"task,omitzero"`
}

// ListTasksInput is what ListTasks takes.
type ListTasksInput struct {
	Cluster           string `json:"cluster,omitzero"`
	ContainerInstance string `json:"containerInstance,omitzero"`
	DaemonName        string `json:"daemonName,omitzero"`
	DesiredStatus     string `json:"desiredStatus,omitzero"`
	Family            string `json:"family,omitzero"`
	LaunchType        string `json:"launchType,omitzero"`
	MaxResults        *int32 `json:"maxResults,omitzero"`
	NextToken         string `json:"nextToken,omitzero"`
	ServiceName       string `json:"serviceName,omitzero"`
	StartedBy         string `json:"startedBy,omitzero"`
}

// ListTasksOutput is what ListTasks answers.
type ListTasksOutput struct {
	NextToken string   `json:"nextToken,omitzero"`
	TaskArns  []string `json:"taskArns,omitzero"`
}

// DescribeTasksInput is what DescribeTasks takes.
type DescribeTasksInput struct {
	Tasks   []string `json:"tasks,omitzero"`
	Cluster string   `json:"cluster,omitzero"`
	Include []string `json:"include,omitzero"`
}

// DescribeTasksOutput is what DescribeTasks answers.
type DescribeTasksOutput struct {
	Failures []Failure `json:"failures,omitzero"`
	Tasks    []Task    `json:"tasks,omitzero"`
}

// ExecuteCommandInput is what ExecuteCommand takes.
type ExecuteCommandInput struct {
	Command     string `json:"command,omitzero"`
	Interactive bool   `json:"interactive"`
	Task        string `json:"task,omitzero"`
	Cluster     string `json:"cluster,omitzero"`
	Container   string `json:"container,omitzero"`
}

// ExecuteCommandOutput is what ExecuteCommand answers.
type ExecuteCommandOutput struct {
	ClusterArn    string   `json:"clusterArn,omitzero"`
	ContainerArn  string   `json:"containerArn,omitzero"`
	ContainerName string   `json:"containerName,omitzero"`
	Interactive   bool     `json:"interactive"`
	Session       *Session `json:"session,omitzero"`
	TaskArn       string   `json:"taskArn,omitzero"`
}

// ListServiceDeploymentsInput is what ListServiceDeployments takes.
type ListServiceDeploymentsInput struct {
	Service    string     `json:"service,omitzero"`
	Cluster    string     `json:"cluster,omitzero"`
	CreatedAt  *CreatedAt `json:"createdAt,omitzero"`
	MaxResults *int32     `json:"maxResults,omitzero"`
	NextToken  string     `json:"nextToken,omitzero"`
	Status     []string   `json:"status,omitzero"`
}

// ListServiceDeploymentsOutput is what ListServiceDeployments answers.
type ListServiceDeploymentsOutput struct {
	NextToken          string                   `json:"nextToken,omitzero"`
	ServiceDeployments []ServiceDeploymentBrief `json:"serviceDeployments,omitzero"`
}

// DescribeServiceDeploymentsInput is what DescribeServiceDeployments takes.
type DescribeServiceDeploymentsInput struct {
	ServiceDeploymentArns []string `json:"serviceDeploymentArns,omitzero"`
}

// DescribeServiceDeploymentsOutput is what DescribeServiceDeployments answers.
type DescribeServiceDeploymentsOutput struct {
	Failures           []Failure           `json:"failures,omitzero"`
	ServiceDeployments []ServiceDeployment `json:"serviceDeployments,omitzero"`
}

// DescribeServiceRevisionsInput is what DescribeServiceRevisions takes.
type DescribeServiceRevisionsInput struct {
	ServiceRevisionArns []string `json:"serviceRevisionArns,omitzero"`
}

// DescribeServiceRevisionsOutput is what DescribeServiceRevisions answers.
type DescribeServiceRevisionsOutput struct {
	Failures         []Failure         `json:"failures,omitzero"`
	ServiceRevisions []ServiceRevision `json:"serviceRevisions,omitzero"`
}

// StopServiceDeploymentInput is what StopServiceDeployment takes.
type StopServiceDeploymentInput struct {
	ServiceDeploymentArn string `json:"serviceDeploymentArn,omitzero"`
	StopType             string `json:"stopType,omitzero"`
}

// StopServiceDeploymentOutput is what StopServiceDeployment answers.
type StopServiceDeploymentOutput struct {
	ServiceDeploymentArn string `json:"serviceDeploymentArn,omitzero"`
}

// ContinueServiceDeploymentInput is what ContinueServiceDeployment takes.
type ContinueServiceDeploymentInput struct {
	HookId               string `json:"hookId,omitzero"`
	ServiceDeploymentArn string `json:"serviceDeploymentArn,omitzero"`
	Action               string `json:"action,omitzero"`
}

// ContinueServiceDeploymentOutput is what ContinueServiceDeployment answers.
type ContinueServiceDeploymentOutput struct {
	ServiceDeploymentArn string `json:"serviceDeploymentArn,omitzero"`
}

// RegisterContainerInstanceInput is what RegisterContainerInstance takes.
type RegisterContainerInstanceInput struct {
	Attributes                        []Attribute      `json:"attributes,omitzero"`
	Cluster                           string           `json:"cluster,omitzero"`
	ContainerInstanceArn              string           `json:"containerInstanceArn,omitzero"`
	InstanceIdentityDocument          string           `json:"instanceIdentityDocument,omitzero"`
	InstanceIdentityDocumentSignature string           `json:"instanceIdentityDocumentSignature,omitzero"`
	PlatformDevices                   []PlatformDevice `json:"platformDevices,omitzero"`
	Tags                              []Tag            `json:"tags,omitzero"`
	TotalResources                    []Resource       `json:"totalResources,omitzero"`
	VersionInfo                       *VersionInfo     `json:"versionInfo,omitzero"`
}

// RegisterContainerInstanceOutput is what RegisterContainerInstance answers.
type RegisterContainerInstanceOutput struct {
	ContainerInstance *ContainerInstance `json:"containerInstance,omitzero"`
}

// DeregisterContainerInstanceInput is what DeregisterContainerInstance takes.
type DeregisterContainerInstanceInput struct {
	ContainerInstance string `json:"containerInstance,omitzero"`
	Cluster           string `json:"cluster,omitzero"`
	Force             *bool  `json:"force,omitzero"`
}

// DeregisterContainerInstanceOutput is what DeregisterContainerInstance answers.
type DeregisterContainerInstanceOutput struct {
	ContainerInstance *ContainerInstance `json:"containerInstance,omitzero"`
}

// ListContainerInstancesInput is what ListContainerInstances takes.
type ListContainerInstancesInput struct {
	Cluster    string `json:"cluster,omitzero"`
	Filter     string `json:"filter,omitzero"`
	MaxResults *int32 `json:"maxResults,omitzero"`
	NextToken  string `json:"nextToken,omitzero"`
	Status     string `json:"status,omitzero"`
}

// ListContainerInstancesOutput is what ListContainerInstances answers.
type ListContainerInstancesOutput struct {
	ContainerInstanceArns []string `json:"containerInstanceArns,omitzero"`
	NextToken             string   `json:"nextToken,omitzero"`
}

// DescribeContainerInstancesInput is what DescribeContainerInstances takes.
type DescribeContainerInstancesInput struct {
	ContainerInstances []string `json:"containerInstances,omitzero"`
	Cluster            string   `json:"cluster,omitzero"`
	Include            []string `json:"include,omitzero"`
}

// DescribeContainerInstancesOutput is what DescribeContainerInstances answers.
type DescribeContainerInstancesOutput struct {
	ContainerInstances []ContainerInstance `json:"containerInstances,omitzero"`
	Failures           []Failure           `json:"failures,omitzero"`
}

// UpdateContainerInstancesStateInput is what UpdateContainerInstancesState takes.
type UpdateContainerInstancesStateInput struct {
	ContainerInstances []string `json:"containerInstances,omitzero"`
	Status             string   `json:"status,omitzero"`
	Cluster            string   `json:"cluster,omitzero"`
}

// UpdateContainerInstancesStateOutput is what UpdateContainerInstancesState answers.
type UpdateContainerInstancesStateOutput struct {
	ContainerInstances []ContainerInstance `json:"containerInstances,omitzero"`
	Failures           []Failure           `json:"failures,omitzero"`
}

// TagResourceInput is what TagResource takes.
type TagResourceInput struct {
	ResourceArn string `json:"resourceArn,omitzero"`
	Tags        []Tag  `json:"tags,omitzero"`
}

// TagResourceOutput is what TagResource answers.
type TagResourceOutput struct {
}

// UntagResourceInput is what UntagResource takes.
type UntagResourceInput struct {
	ResourceArn string   `json:"resourceArn,omitzero"`
	TagKeys     []string `json:"tagKeys,omitzero"`
}

// UntagResourceOutput is what UntagResource answers.
type UntagResourceOutput struct {
}

// ListTagsForResourceInput is what ListTagsForResource takes.
type ListTagsForResourceInput struct {
	ResourceArn string `json:"resourceArn,omitzero"`
}

// ListTagsForResourceOutput is what ListTagsForResource answers.
type ListTagsForResourceOutput struct {
	Tags []Tag `json:"tags,omitzero"`
}

// PutAccountSettingInput is what PutAccountSetting takes.
type PutAccountSettingInput struct {
	Name         string `json:"name,omitzero"`
	Value        string `json:"value,omitzero"`
	PrincipalArn string `json:"principalArn,omitzero"`
}

// PutAccountSettingOutput is what PutAccountSetting answers.
type PutAccountSettingOutput struct {
	Setting *Setting `json:"setting,omitzero"`
}

// PutAccountSettingDefaultInput is what PutAccountSettingDefault takes.
type PutAccountSettingDefaultInput struct {
	Name  string `json:"name,omitzero"`
	Value string `json:"value,omitzero"`
}

// PutAccountSettingDefaultOutput is what PutAccountSettingDefault answers.
type PutAccountSettingDefaultOutput struct {
	Setting *Setting `json:"setting,omitzero"`
}

// DeleteAccountSettingInput is what DeleteAccountSetting takes.
type DeleteAccountSettingInput struct {
	Name         string `json:"name,omitzero"`
	PrincipalArn string `json:"principalArn,omitzero"`
}

// DeleteAccountSettingOutput is what DeleteAccountSetting answers.
type DeleteAccountSettingOutput struct {
	Setting *Setting `json:"setting,omitzero"`
}

// ListAccountSettingsInput is what ListAccountSettings takes.
type ListAccountSettingsInput struct {
	EffectiveSettings bool   `json:"effectiveSettings"`
	MaxResults        int32  `json:"maxResults"`
	Name              string `json:"name,omitzero"`
	NextToken         string `json:"nextToken,omitzero"`
	PrincipalArn      string `json:"principalArn,omitzero"`
	Value             string `json:"value,omitzero"`
}

// ListAccountSettingsOutput is what ListAccountSettings answers.
type ListAccountSettingsOutput struct {
	NextToken string    `json:"nextToken,omitzero"`
	Settings  []Setting `json:"settings,omitzero"`
}

// UpdateTaskProtectionInput is what UpdateTaskProtection takes.
type UpdateTaskProtectionInput struct {
	Cluster           string   `json:"cluster,omitzero"`
	ProtectionEnabled bool     `json:"protectionEnabled"`
	Tasks             []string `json:"tasks,omitzero"`
	ExpiresInMinutes  *int32   `json:"expiresInMinutes,omitzero"`
}

// UpdateTaskProtectionOutput is what UpdateTaskProtection answers.
type UpdateTaskProtectionOutput struct {
	Failures       []Failure       `json:"failures,omitzero"`
	ProtectedTasks []ProtectedTask `json:"protectedTasks,omitzero"`
}

// GetTaskProtectionInput is what GetTaskProtection takes.
type GetTaskProtectionInput struct {
	Cluster string   `json:"cluster,omitzero"`
	Tasks   []string `json:"tasks,omitzero"`
}

// GetTaskProtectionOutput is what GetTaskProtection answers.
type GetTaskProtectionOutput struct {
	Failures       []Failure       `json:"failures,omitzero"`
	ProtectedTasks []ProtectedTask `json:"protectedTasks,omitzero"`
}
