package wire

import (
	"encoding/json"

	"bake/internal/sandbox/epoch"
)

// AdvancedConfiguration is the type of that name in the API.
type AdvancedConfiguration struct {
	AlternateTargetGroupArn string `json:"alternateTargetGroupArn,omitzero"`
	ProductionListenerRule  string `json:"productionListenerRule,omitzero"`
	RoleArn                 string `json:"roleArn,omitzero"`
	TestListenerRule        string `json:"testListenerRule,omitzero"`
}

// Attachment is the type of that name in the API.
type Attachment struct {
	Details []KeyValuePair `json:"details,omitzero"`
	Id      string         `json:"id,omitzero"`
	Status  string         `json:"status,omitzero"`
	Type    string         `json:"type,omitzero"`
}

// Attribute is the type of that name in the API.
type Attribute struct {
	Name       string `json:"name,omitzero"`
	TargetId   string `json:"targetId,omitzero"`
	TargetType string `json:"targetType,omitzero"`
	Value      string `json:"value,omitzero"`
}

// AutoScalingGroupProvider is the type of that name in the API.
type AutoScalingGroupProvider struct {
	AutoScalingGroupArn          string          `json:"autoScalingGroupArn,omitzero"`
	ManagedDraining              string          `json:"managedDraining,omitzero"`
	ManagedScaling               *ManagedScaling `json:"managedScaling,omitzero"`
	ManagedTerminationProtection string          `json:"managedTerminationProtection,omitzero"`
}

// AwsVpcConfiguration is the type of that name in the API.
type AwsVpcConfiguration struct {
	Subnets        []string `json:"subnets,omitzero"`
	AssignPublicIp string   `json:"assignPublicIp,omitzero"`
	SecurityGroups []string `json:"securityGroups,omitzero"`
}

// CanaryConfiguration is the type of that name in the API.
type CanaryConfiguration struct {
	CanaryBakeTimeInMinutes *int32   `json:"canaryBakeTimeInMinutes,omitzero"`
	CanaryPercent           *float64 `json:"canaryPercent,omitzero"`
}

// CapacityProvider is the type of that name in the API.
type CapacityProvider struct {
	AutoScalingGroupProvider *AutoScalingGroupProvider `json:"autoScalingGroupProvider,omitzero"`
	CapacityProviderArn      string                    `json:"capacityProviderArn,omitzero"`
	Cluster                  string                    `json:"cluster,omitzero"`
	Name                     string                    `json:"name,omitzero"`
	Status                   string                    `json:"status,omitzero"`
	Tags                     []Tag                     `json:"tags,omitzero"`
	Type                     string                    `json:"type,omitzero"`
	UpdateStatus             string                    `json:"updateStatus,omitzero"`
	UpdateStatusReason       string                    `json:"updateStatusReason,omitzero"`
}

// CapacityProviderStrategyItem is the type of that name in the API.
type CapacityProviderStrategyItem struct {
	CapacityProvider string `json:"capacityProvider,omitzero"`
	Base             int32  `json:"base"`
	Weight           int32  `json:"weight"`
}

// Cluster is the type of that name in the API.
type Cluster struct {
	ActiveServicesCount               int32                          `json:"activeServicesCount"`
	Attachments                       []Attachment                   `json:"attachments,omitzero"`
	AttachmentsStatus                 string                         `json:"attachmentsStatus,omitzero"`
	CapacityProviders                 []string                       `json:"capacityProviders,omitzero"`
	ClusterArn                        string                         `json:"clusterArn,omitzero"`
	ClusterName                       string                         `json:"clusterName,omitzero"`
	Configuration                     *ClusterConfiguration          `json:"configuration,omitzero"`
	DefaultCapacityProviderStrategy   []CapacityProviderStrategyItem `json:"defaultCapacityProviderStrategy,omitzero"`
	PendingTasksCount                 int32                          `json:"pendingTasksCount"`
	RegisteredContainerInstancesCount int32                          `json:"registeredContainerInstancesCount"`
	RunningTasksCount                 int32                          `json:"runningTasksCount"`
	ServiceConnectDefaults            *ClusterServiceConnectDefaults `json:"serviceConnectDefaults,omitzero"`
	Settings                          []ClusterSetting               `json:"settings,omitzero"`
	Statistics                        []KeyValuePair                 `json:"statistics,omitzero"`
	Status                            string                         `json:"status,omitzero"`
	Tags                              []Tag                          `json:"tags,omitzero"`
}

// ClusterConfiguration is the type of that name in the API.
type ClusterConfiguration struct {
	ExecuteCommandConfiguration *ExecuteCommandConfiguration `json:"executeCommandConfiguration,omitzero"`
	ManagedStorageConfiguration *ManagedStorageConfiguration `json:"managedStorageConfiguration,omitzero"`
}

// ClusterServiceConnectDefaults is the type of that name in the API.
type ClusterServiceConnectDefaults struct {
	Namespace string `json:"namespace,omitzero"`
}

// ClusterServiceConnectDefaultsRequest is the type of that name in the API.
type ClusterServiceConnectDefaultsRequest struct {
	Namespace string `json:"namespace,omitzero"`
}

// ClusterSetting is the type of that name in the API.
type ClusterSetting struct {
	Name  string `json:"name,omitzero"`
	Value string `json:"value,omitzero"`
}

// Container is the type of that name in the API.
type Container struct {
	ContainerArn      string             `json:"containerArn,omitzero"`
	Cpu               string             `json:"cpu,omitzero"`
	ExitCode          *int32             `json:"exitCode,omitzero"`
	GpuIds            []string           `json:"gpuIds,omitzero"`
	HealthStatus      string             `json:"healthStatus,omitzero"`
	Image             string             `json:"image,omitzero"`
	ImageDigest       string             `json:"imageDigest,omitzero"`
	LastStatus        string             `json:"lastStatus,omitzero"`
	ManagedAgents     []ManagedAgent     `json:"managedAgents,omitzero"`
	Memory            string             `json:"memory,omitzero"`
	MemoryReservation string             `json:"memoryReservation,omitzero"`
	Name              string             `json:"name,omitzero"`
	NetworkBindings   []NetworkBinding   `json:"networkBindings,omitzero"`
	NetworkInterfaces []NetworkInterface `json:"networkInterfaces,omitzero"`
	NeuronDeviceIds   []string           `json:"neuronDeviceIds,omitzero"`
	Reason            string             `json:"reason,omitzero"`
	RuntimeId         string             `json:"runtimeId,omitzero"`
	TaskArn           string             `json:"taskArn,omitzero"`
}

// ContainerDefinition is the type of that name in the API.
type ContainerDefinition struct {
	Command                []string                `json:"command,omitzero"`
	Cpu                    int32                   `json:"cpu"`
	CredentialSpecs        []string                `json:"credentialSpecs,omitzero"`
	DependsOn              []ContainerDependency   `json:"dependsOn,omitzero"`
	DisableNetworking      *bool                   `json:"disableNetworking,omitzero"`
	DnsSearchDomains       []string                `json:"dnsSearchDomains,omitzero"`
	DnsServers             []string                `json:"dnsServers,omitzero"`
	DockerLabels           map[string]string       `json:"dockerLabels,omitzero"`
	DockerSecurityOptions  []string                `json:"dockerSecurityOptions,omitzero"`
	EntryPoint             []string                `json:"entryPoint,omitzero"`
	Environment            []KeyValuePair          `json:"environment,omitzero"`
	EnvironmentFiles       []EnvironmentFile       `json:"environmentFiles,omitzero"`
	Essential              *bool                   `json:"essential,omitzero"`
	ExtraHosts             []HostEntry             `json:"extraHosts,omitzero"`
	FirelensConfiguration  *FirelensConfiguration  `json:"firelensConfiguration,omitzero"`
	HealthCheck            *HealthCheck            `json:"healthCheck,omitzero"`
	Hostname               string                  `json:"hostname,omitzero"`
	Image                  string                  `json:"image,omitzero"`
	Interactive            *bool                   `json:"interactive,omitzero"`
	Links                  []string                `json:"links,omitzero"`
	LinuxParameters        *LinuxParameters        `json:"linuxParameters,omitzero"`
	LogConfiguration       *LogConfiguration       `json:"logConfiguration,omitzero"`
	Memory                 *int32                  `json:"memory,omitzero"`
	MemoryReservation      *int32                  `json:"memoryReservation,omitzero"`
	MountPoints            []MountPoint            `json:"mountPoints,omitzero"`
	Name                   string                  `json:"name,omitzero"`
	PortMappings           []PortMapping           `json:"portMappings,omitzero"`
	Privileged             *bool                   `json:"privileged,omitzero"`
	PseudoTerminal         *bool                   `json:"pseudoTerminal,omitzero"`
	ReadonlyRootFilesystem *bool                   `json:"readonlyRootFilesystem,omitzero"`
	RepositoryCredentials  *RepositoryCredentials  `json:"repositoryCredentials,omitzero"`
	ResourceRequirements   []ResourceRequirement   `json:"resourceRequirements,omitzero"`
	RestartPolicy          *ContainerRestartPolicy `json:"restartPolicy,omitzero"`
	Secrets                []Secret                `json:"secrets,omitzero"`
	StartTimeout           *int32                  `json:"startTimeout,omitzero"`
	StopTimeout            *int32                  `json:"stopTimeout,omitzero"`
	SystemControls         []SystemControl         `json:"systemControls,omitzero"`
	Ulimits                []Ulimit                `json:"ulimits,omitzero"`
	User                   string                  `json:"user,omitzero"`
	VersionConsistency     string                  `json:"versionConsistency,omitzero"`
	VolumesFrom            []VolumeFrom            `json:"volumesFrom,omitzero"`
	WorkingDirectory       string                  `json:"workingDirectory,omitzero"`
}

// ContainerDependency is the type of that name in the API.
type ContainerDependency struct {
	Condition     string `json:"condition,omitzero"`
	ContainerName string `json:"containerName,omitzero"`
}

// ContainerImage is the type of that name in the API.
type ContainerImage struct {
	ContainerName string `json:"containerName,omitzero"`
	Image         string `json:"image,omitzero"`
	ImageDigest   string `json:"imageDigest,omitzero"`
}

// ContainerInstance is the type of that name in the API.
type ContainerInstance struct {
	AgentConnected       bool                           `json:"agentConnected"`
	AgentUpdateStatus    string                         `json:"agentUpdateStatus,omitzero"`
	Attachments          []Attachment                   `json:"attachments,omitzero"`
	Attributes           []Attribute                    `json:"attributes,omitzero"`
	CapacityProviderName string                         `json:"capacityProviderName,omitzero"`
	ContainerInstanceArn string                         `json:"containerInstanceArn,omitzero"`
	Ec2InstanceId        string                         `json:"ec2InstanceId,omitzero"`
	GpuDevices           []GpuDevice                    `json:"gpuDevices,omitzero"`
	HealthStatus         *ContainerInstanceHealthStatus `json:"healthStatus,omitzero"`
	PendingTasksCount    int32                          `json:"pendingTasksCount"`
	RegisteredAt         *epoch.Time                    `json:"registeredAt,omitzero"`
	RegisteredResources  []Resource                     `json:"registeredResources,omitzero"`
	RemainingResources   []Resource                     `json:"remainingResources,omitzero"`
	RunningTasksCount    int32                          `json:"runningTasksCount"`
	Status               string                         `json:"status,omitzero"`
	StatusReason         string                         `json:"statusReason,omitzero"`
	Tags                 []Tag                          `json:"tags,omitzero"`
	Version              int64                          `json:"version"`
	VersionInfo          *VersionInfo                   `json:"versionInfo,omitzero"`
}

// ContainerInstanceHealthStatus is the type of that name in the API.
type ContainerInstanceHealthStatus struct {
	Details       []InstanceHealthCheckResult `json:"details,omitzero"`
	OverallStatus string                      `json:"overallStatus,omitzero"`
}

// ContainerOverride is the type of that name in the API.
type ContainerOverride struct {
	Command              []string              `json:"command,omitzero"`
	Cpu                  *int32                `json:"cpu,omitzero"`
	Environment          []KeyValuePair        `json:"environment,omitzero"`
	EnvironmentFiles     []EnvironmentFile     `json:"environmentFiles,omitzero"`
	Memory               *int32                `json:"memory,omitzero"`
	MemoryReservation    *int32                `json:"memoryReservation,omitzero"`
	Name                 string                `json:"name,omitzero"`
	ResourceRequirements []ResourceRequirement `json:"resourceRequirements,omitzero"`
}

// ContainerRestartPolicy is the type of that name in the API.
type ContainerRestartPolicy struct {
	Enabled              *bool   `json:"enabled,omitzero"`
	IgnoredExitCodes     []int32 `json:"ignoredExitCodes,omitzero"`
	RestartAttemptPeriod *int32  `json:"restartAttemptPeriod,omitzero"`
}

// CreatedAt is the type of that name in the API.
type CreatedAt struct {
	After  *epoch.Time `json:"after,omitzero"`
	Before *epoch.Time `json:"before,omitzero"`
}

// Deployment is the type of that name in the API.
type Deployment struct {
	CapacityProviderStrategy    []CapacityProviderStrategyItem  `json:"capacityProviderStrategy,omitzero"`
	CreatedAt                   *epoch.Time                     `json:"createdAt,omitzero"`
	DesiredCount                int32                           `json:"desiredCount"`
	FailedTasks                 int32                           `json:"failedTasks"`
	FargateEphemeralStorage     *DeploymentEphemeralStorage     `json:"fargateEphemeralStorage,omitzero"`
	Id                          string                          `json:"id,omitzero"`
	LaunchType                  string                          `json:"launchType,omitzero"`
	NetworkConfiguration        *NetworkConfiguration           `json:"networkConfiguration,omitzero"`
	PendingCount                int32                           `json:"pendingCount"`
	PlatformFamily              string                          `json:"platformFamily,omitzero"`
	PlatformVersion             string                          `json:"platformVersion,omitzero"`
	RolloutState                string                          `json:"rolloutState,omitzero"`
	RolloutStateReason          string                          `json:"rolloutStateReason,omitzero"`
	RunningCount                int32                           `json:"runningCount"`
	ServiceConnectConfiguration *ServiceConnectConfiguration    `json:"serviceConnectConfiguration,omitzero"`
	ServiceConnectResources     []ServiceConnectServiceResource `json:"serviceConnectResources,omitzero"`
	Status                      string                          `json:"status,omitzero"`
	TaskDefinition              string                          `json:"taskDefinition,omitzero"`
	UpdatedAt                   *epoch.Time                     `json:"updatedAt,omitzero"`
	VolumeConfigurations        []ServiceVolumeConfiguration    `json:"volumeConfigurations,omitzero"`
	VpcLatticeConfigurations    []VpcLatticeConfiguration       `json:"vpcLatticeConfigurations,omitzero"`
}

// DeploymentAlarms is the type of that name in the API.
type DeploymentAlarms struct {
	AlarmNames []string `json:"alarmNames,omitzero"`
	Enable     bool     `json:"enable"`
	Rollback   bool     `json:"rollback"`
}

// DeploymentCircuitBreaker is the type of that name in the API.
type DeploymentCircuitBreaker struct {
	Enable                 bool                    `json:"enable"`
	Rollback               bool                    `json:"rollback"`
	ResetOnHealthyTask     *bool                   `json:"resetOnHealthyTask,omitzero"`
	ThresholdConfiguration *ThresholdConfiguration `json:"thresholdConfiguration,omitzero"`
}

// DeploymentConfiguration is the type of that name in the API.
type DeploymentConfiguration struct {
	Alarms                   *DeploymentAlarms               `json:"alarms,omitzero"`
	BakeTimeInMinutes        *int32                          `json:"bakeTimeInMinutes,omitzero"`
	CanaryConfiguration      *CanaryConfiguration            `json:"canaryConfiguration,omitzero"`
	DeploymentCircuitBreaker *DeploymentCircuitBreaker       `json:"deploymentCircuitBreaker,omitzero"`
	EarlySuccessCriteria     *DeploymentEarlySuccessCriteria `json:"earlySuccessCriteria,omitzero"`
	LifecycleHooks           []DeploymentLifecycleHook       `json:"lifecycleHooks,omitzero"`
	LinearConfiguration      *LinearConfiguration            `json:"linearConfiguration,omitzero"`
	MaximumPercent           *int32                          `json:"maximumPercent,omitzero"`
	MinimumHealthyPercent    *int32                          `json:"minimumHealthyPercent,omitzero"`
	Strategy                 string                          `json:"strategy,omitzero"`
}

// DeploymentController is the type of that name in the API.
type DeploymentController struct {
	Type string `json:"type,omitzero"`
}

// DeploymentEarlySuccessCriteria is the type of that name in the API.
type DeploymentEarlySuccessCriteria struct {
	Enable                       bool   `json:"enable"`
	HealthyPercent               *int32 `json:"healthyPercent,omitzero"`
	SourceServiceRevisionCleanup string `json:"sourceServiceRevisionCleanup,omitzero"`
}

// DeploymentEphemeralStorage is the type of that name in the API.
type DeploymentEphemeralStorage struct {
	KmsKeyId string `json:"kmsKeyId,omitzero"`
}

// DeploymentLifecycleHook is the type of that name in the API.
type DeploymentLifecycleHook struct {
	HookDetails          json.RawMessage                              `json:"hookDetails,omitzero"`
	HookTargetArn        string                                       `json:"hookTargetArn,omitzero"`
	LifecycleStages      []string                                     `json:"lifecycleStages,omitzero"`
	RoleArn              string                                       `json:"roleArn,omitzero"`
	TargetType           string                                       `json:"targetType,omitzero"`
	TimeoutConfiguration *DeploymentLifecycleHookTimeoutConfiguration `json:"timeoutConfiguration,omitzero"`
}

// DeploymentLifecycleHookDetail is the type of that name in the API.
type DeploymentLifecycleHookDetail struct {
	ExpiresAt     *epoch.Time `json:"expiresAt,omitzero"`
	HookId        string      `json:"hookId,omitzero"`
	Status        string      `json:"status,omitzero"`
	TargetArn     string      `json:"targetArn,omitzero"`
	TargetType    string      `json:"targetType,omitzero"`
	TimeoutAction string      `json:"timeoutAction,omitzero"`
}

// DeploymentLifecycleHookTimeoutConfiguration is the type of that name in the API.
type DeploymentLifecycleHookTimeoutConfiguration struct {
	Action           string `json:"action,omitzero"`
	TimeoutInMinutes *int32 `json:"timeoutInMinutes,omitzero"`
}

// Device is the type of that name in the API.
type Device struct {
	HostPath      string   `json:"hostPath,omitzero"`
	ContainerPath string   `json:"containerPath,omitzero"`
	Permissions   []string `json:"permissions,omitzero"`
}

// DockerVolumeConfiguration is the type of that name in the API.
type DockerVolumeConfiguration struct {
	Autoprovision *bool             `json:"autoprovision,omitzero"`
	Driver        string            `json:"driver,omitzero"`
	DriverOpts    map[string]string `json:"driverOpts,omitzero"`
	Labels        map[string]string `json:"labels,omitzero"`
	Scope         string            `json:"scope,omitzero"`
}

// EBSTagSpecification is the type of that name in the API.
type EBSTagSpecification struct {
	ResourceType  string `json:"resourceType,omitzero"`
	PropagateTags string `json:"propagateTags,omitzero"`
	Tags          []Tag  `json:"tags,omitzero"`
}

// EFSAuthorizationConfig is the type of that name in the API.
type EFSAuthorizationConfig struct {
	AccessPointId string `json:"accessPointId,omitzero"`
	Iam           string `json:"iam,omitzero"`
}

// EFSVolumeConfiguration is the type of that name in the API.
type EFSVolumeConfiguration struct {
	FileSystemId          string                  `json:"fileSystemId,omitzero"`
	AuthorizationConfig   *EFSAuthorizationConfig `json:"authorizationConfig,omitzero"`
	RootDirectory         string                  `json:"rootDirectory,omitzero"`
	TransitEncryption     string                  `json:"transitEncryption,omitzero"`
	TransitEncryptionPort *int32                  `json:"transitEncryptionPort,omitzero"`
}

// EnvironmentFile is the type of that name in the API.
type EnvironmentFile struct {
	Type  string `json:"type,omitzero"`
	Value string `json:"value,omitzero"`
}

// EphemeralStorage is the type of that name in the API.
type EphemeralStorage struct {
	SizeInGiB int32 `json:"sizeInGiB"`
}

// ExecuteCommandConfiguration is the type of that name in the API.
type ExecuteCommandConfiguration struct {
	KmsKeyId         string                          `json:"kmsKeyId,omitzero"`
	LogConfiguration *ExecuteCommandLogConfiguration `json:"logConfiguration,omitzero"`
	Logging          string                          `json:"logging,omitzero"`
}

// ExecuteCommandLogConfiguration is the type of that name in the API.
type ExecuteCommandLogConfiguration struct {
	CloudWatchEncryptionEnabled bool   `json:"cloudWatchEncryptionEnabled"`
	CloudWatchLogGroupName      string `json:"cloudWatchLogGroupName,omitzero"`
	S3BucketName                string `json:"s3BucketName,omitzero"`
	S3EncryptionEnabled         bool   `json:"s3EncryptionEnabled"`
	S3KeyPrefix                 string `json:"s3KeyPrefix,omitzero"`
}

// FSxWindowsFileServerAuthorizationConfig is the type of that name in the API.
type FSxWindowsFileServerAuthorizationConfig struct {
	CredentialsParameter string `json:"credentialsParameter,omitzero"`
	Domain               string `json:"domain,omitzero"`
}

// FSxWindowsFileServerVolumeConfiguration is the type of that name in the API.
type FSxWindowsFileServerVolumeConfiguration struct {
	AuthorizationConfig *FSxWindowsFileServerAuthorizationConfig `json:"authorizationConfig,omitzero"`
	FileSystemId        string                                   `json:"fileSystemId,omitzero"`
	RootDirectory       string                                   `json:"rootDirectory,omitzero"`
}

// Failure is the type of that name in the API.
type Failure struct {
	Arn    string `json:"arn,omitzero"`
	Detail string `json:"detail,omitzero"`
	Reason string `json:"reason,omitzero"`
}

// FirelensConfiguration is the type of that name in the API.
type FirelensConfiguration struct {
	Type    string            `json:"type,omitzero"`
	Options map[string]string `json:"options,omitzero"`
}

// GatewayConnector is the type of that name in the API.
type GatewayConnector struct {
	PortName    string                       `json:"portName,omitzero"`
	Filters     *GatewayConnectorFilters     `json:"filters,omitzero"`
	HealthCheck *GatewayConnectorHealthCheck `json:"healthCheck,omitzero"`
}

// GatewayConnectorFilters is the type of that name in the API.
type GatewayConnectorFilters struct {
	AccessTypes []string `json:"accessTypes,omitzero"`
}

// GatewayConnectorHealthCheck is the type of that name in the API.
type GatewayConnectorHealthCheck struct {
	HealthCheckIntervalSeconds *int32                              `json:"healthCheckIntervalSeconds,omitzero"`
	HealthCheckPath            string                              `json:"healthCheckPath,omitzero"`
	HealthCheckPort            *int32                              `json:"healthCheckPort,omitzero"`
	HealthCheckProtocol        string                              `json:"healthCheckProtocol,omitzero"`
	HealthCheckTimeoutSeconds  *int32                              `json:"healthCheckTimeoutSeconds,omitzero"`
	HealthyThresholdCount      *int32                              `json:"healthyThresholdCount,omitzero"`
	Matcher                    *GatewayConnectorHealthCheckMatcher `json:"matcher,omitzero"`
	UnhealthyThresholdCount    *int32                              `json:"unhealthyThresholdCount,omitzero"`
}

// GatewayConnectorHealthCheckMatcher is the type of that name in the API.
type GatewayConnectorHealthCheckMatcher struct {
	GrpcCode string `json:"grpcCode,omitzero"`
	HttpCode string `json:"httpCode,omitzero"`
}

// GpuDevice is the type of that name in the API.
type GpuDevice struct {
	ContainerCount       *int32 `json:"containerCount,omitzero"`
	GpuId                string `json:"gpuId,omitzero"`
	RemainingMemoryInMiB *int32 `json:"remainingMemoryInMiB,omitzero"`
	SharingMode          string `json:"sharingMode,omitzero"`
	TotalMemoryInMiB     *int32 `json:"totalMemoryInMiB,omitzero"`
}

// HealthCheck is the type of that name in the API.
type HealthCheck struct {
	Command     []string `json:"command,omitzero"`
	Interval    *int32   `json:"interval,omitzero"`
	Retries     *int32   `json:"retries,omitzero"`
	StartPeriod *int32   `json:"startPeriod,omitzero"`
	Timeout     *int32   `json:"timeout,omitzero"`
}

// HostEntry is the type of that name in the API.
type HostEntry struct {
	Hostname  string `json:"hostname,omitzero"`
	IpAddress string `json:"ipAddress,omitzero"`
}

// HostVolumeProperties is the type of that name in the API.
type HostVolumeProperties struct {
	SourcePath string `json:"sourcePath,omitzero"`
}

// InferenceAccelerator is the type of that name in the API.
type InferenceAccelerator struct {
	DeviceName string `json:"deviceName,omitzero"`
	DeviceType string `json:"deviceType,omitzero"`
}

// InferenceAcceleratorOverride is the type of that name in the API.
type InferenceAcceleratorOverride struct {
	DeviceName string `json:"deviceName,omitzero"`
	DeviceType string `json:"deviceType,omitzero"`
}

// InstanceHealthCheckResult is the type of that name in the API.
type InstanceHealthCheckResult struct {
	LastStatusChange *epoch.Time `json:"lastStatusChange,omitzero"`
	LastUpdated      *epoch.Time `json:"lastUpdated,omitzero"`
	Status           string      `json:"status,omitzero"`
	StatusReason     string      `json:"statusReason,omitzero"`
	Type             string      `json:"type,omitzero"`
}

// KernelCapabilities is the type of that name in the API.
type KernelCapabilities struct {
	Add  []string `json:"add,omitzero"`
	Drop []string `json:"drop,omitzero"`
}

// KeyValuePair is the type of that name in the API.
type KeyValuePair struct {
	Name  string `json:"name,omitzero"`
	Value string `json:"value"`
}

// LinearConfiguration is the type of that name in the API.
type LinearConfiguration struct {
	StepBakeTimeInMinutes *int32   `json:"stepBakeTimeInMinutes,omitzero"`
	StepPercent           *float64 `json:"stepPercent,omitzero"`
}

// LinuxParameters is the type of that name in the API.
type LinuxParameters struct {
	Capabilities       *KernelCapabilities `json:"capabilities,omitzero"`
	Devices            []Device            `json:"devices,omitzero"`
	InitProcessEnabled *bool               `json:"initProcessEnabled,omitzero"`
	MaxSwap            *int32              `json:"maxSwap,omitzero"`
	SharedMemorySize   *int32              `json:"sharedMemorySize,omitzero"`
	Swappiness         *int32              `json:"swappiness,omitzero"`
	Tmpfs              []Tmpfs             `json:"tmpfs,omitzero"`
}

// LoadBalancer is the type of that name in the API.
type LoadBalancer struct {
	AdvancedConfiguration *AdvancedConfiguration `json:"advancedConfiguration,omitzero"`
	ContainerName         string                 `json:"containerName,omitzero"`
	ContainerPort         *int32                 `json:"containerPort,omitzero"`
	LoadBalancerName      string                 `json:"loadBalancerName,omitzero"`
	TargetGroupArn        string                 `json:"targetGroupArn,omitzero"`
}

// LogConfiguration is the type of that name in the API.
type LogConfiguration struct {
	LogDriver     string            `json:"logDriver,omitzero"`
	Options       map[string]string `json:"options,omitzero"`
	SecretOptions []Secret          `json:"secretOptions,omitzero"`
}

// ManagedAgent is the type of that name in the API.
type ManagedAgent struct {
	LastStartedAt *epoch.Time `json:"lastStartedAt,omitzero"`
	LastStatus    string      `json:"lastStatus,omitzero"`
	Name          string      `json:"name,omitzero"`
	Reason        string      `json:"reason,omitzero"`
}

// ManagedScaling is the type of that name in the API.
type ManagedScaling struct {
	InstanceWarmupPeriod   *int32 `json:"instanceWarmupPeriod,omitzero"`
	MaximumScalingStepSize *int32 `json:"maximumScalingStepSize,omitzero"`
	MinimumScalingStepSize *int32 `json:"minimumScalingStepSize,omitzero"`
	Status                 string `json:"status,omitzero"`
	TargetCapacity         *int32 `json:"targetCapacity,omitzero"`
}

// ManagedStorageConfiguration is the type of that name in the API.
type ManagedStorageConfiguration struct {
	FargateEphemeralStorageKmsKeyId string `json:"fargateEphemeralStorageKmsKeyId,omitzero"`
	KmsKeyId                        string `json:"kmsKeyId,omitzero"`
}

// MetricConfiguration is the type of that name in the API.
type MetricConfiguration struct {
	MetricNames       []string `json:"metricNames,omitzero"`
	ResolutionSeconds *int32   `json:"resolutionSeconds,omitzero"`
}

// MonitoringConfiguration is the type of that name in the API.
type MonitoringConfiguration struct {
	MetricConfigurations []MetricConfiguration `json:"metricConfigurations,omitzero"`
}

// MountPoint is the type of that name in the API.
type MountPoint struct {
	ContainerPath string `json:"containerPath,omitzero"`
	ReadOnly      *bool  `json:"readOnly,omitzero"`
	SourceVolume  string `json:"sourceVolume,omitzero"`
}

// NetworkBinding is the type of that name in the API.
type NetworkBinding struct {
	BindIP             string `json:"bindIP,omitzero"`
	ContainerPort      *int32 `json:"containerPort,omitzero"`
	ContainerPortRange string `json:"containerPortRange,omitzero"`
	HostPort           *int32 `json:"hostPort,omitzero"`
	HostPortRange      string `json:"hostPortRange,omitzero"`
	Protocol           string `json:"protocol,omitzero"`
}

// NetworkConfiguration is the type of that name in the API.
type NetworkConfiguration struct {
	AwsvpcConfiguration *AwsVpcConfiguration `json:"awsvpcConfiguration,omitzero"`
}

// NetworkInterface is the type of that name in the API.
type NetworkInterface struct {
	AttachmentId       string `json:"attachmentId,omitzero"`
	Ipv6Address        string `json:"ipv6Address,omitzero"`
	PrivateIpv4Address string `json:"privateIpv4Address,omitzero"`
}

// PlacementConstraint is the type of that name in the API.
type PlacementConstraint struct {
	Expression string `json:"expression,omitzero"`
	Type       string `json:"type,omitzero"`
}

// PlacementStrategy is the type of that name in the API.
type PlacementStrategy struct {
	Field string `json:"field,omitzero"`
	Type  string `json:"type,omitzero"`
}

// PlatformDevice is the type of that name in the API.
type PlatformDevice struct {
	Id   string `json:"id,omitzero"`
	Type string `json:"type,omitzero"`
}

// PortMapping is the type of that name in the API.
type PortMapping struct {
	AppProtocol        string `json:"appProtocol,omitzero"`
	ContainerPort      *int32 `json:"containerPort,omitzero"`
	ContainerPortRange string `json:"containerPortRange,omitzero"`
	HostPort           *int32 `json:"hostPort,omitzero"`
	Name               string `json:"name,omitzero"`
	Protocol           string `json:"protocol,omitzero"`
}

// ProtectedTask is the type of that name in the API.
type ProtectedTask struct {
	ExpirationDate    *epoch.Time `json:"expirationDate,omitzero"`
	ProtectionEnabled bool        `json:"protectionEnabled"`
	TaskArn           string      `json:"taskArn,omitzero"`
}

// ProxyConfiguration is the type of that name in the API.
type ProxyConfiguration struct {
	ContainerName string         `json:"containerName,omitzero"`
	Properties    []KeyValuePair `json:"properties,omitzero"`
	Type          string         `json:"type,omitzero"`
}

// RepositoryCredentials is the type of that name in the API.
type RepositoryCredentials struct {
	CredentialsParameter string `json:"credentialsParameter,omitzero"`
}

// ResolvedConfiguration is the type of that name in the API.
type ResolvedConfiguration struct {
	LoadBalancers            []ServiceRevisionLoadBalancer            `json:"loadBalancers,omitzero"`
	VpcLatticeConfigurations []ServiceRevisionVpcLatticeConfiguration `json:"vpcLatticeConfigurations,omitzero"`
}

// Resource is the type of that name in the API.
type Resource struct {
	DoubleValue    float64  `json:"doubleValue"`
	IntegerValue   int32    `json:"integerValue"`
	LongValue      int64    `json:"longValue"`
	Name           string   `json:"name,omitzero"`
	StringSetValue []string `json:"stringSetValue,omitzero"`
	Type           string   `json:"type,omitzero"`
}

// ResourceRequirement is the type of that name in the API.
type ResourceRequirement struct {
	Type  string `json:"type,omitzero"`
	Value string `json:"value,omitzero"`
}

// Rollback is the type of that name in the API.
type Rollback struct {
	Reason             string      `json:"reason,omitzero"`
	ServiceRevisionArn string      `json:"serviceRevisionArn,omitzero"`
	StartedAt          *epoch.Time `json:"startedAt,omitzero"`
}

// RuntimePlatform is the type of that name in the API.
type RuntimePlatform struct {
	CpuArchitecture       string `json:"cpuArchitecture,omitzero"`
	OperatingSystemFamily string `json:"operatingSystemFamily,omitzero"`
}

// RuntimePlatformOverride is the type of that name in the API.
type RuntimePlatformOverride struct {
	CpuArchitecture string `json:"cpuArchitecture,omitzero"`
}

// S3FilesVolumeConfiguration is the type of that name in the API.
type S3FilesVolumeConfiguration struct {
	FileSystemArn         string `json:"fileSystemArn,omitzero"`
	AccessPointArn        string `json:"accessPointArn,omitzero"`
	RootDirectory         string `json:"rootDirectory,omitzero"`
	TransitEncryptionPort *int32 `json:"transitEncryptionPort,omitzero"`
}

// Scale is the type of that name in the API.
type Scale struct {
	Unit  string  `json:"unit,omitzero"`
	Value float64 `json:"value"`
}

// Secret is the type of that name in the API.
type Secret struct {
	Name      string `json:"name,omitzero"`
	ValueFrom string `json:"valueFrom,omitzero"`
}

// Service is the type of that name in the API.
type Service struct {
	AvailabilityZoneRebalancing   string                          `json:"availabilityZoneRebalancing,omitzero"`
	CapacityProviderStrategy      []CapacityProviderStrategyItem  `json:"capacityProviderStrategy,omitzero"`
	ClusterArn                    string                          `json:"clusterArn,omitzero"`
	CreatedAt                     *epoch.Time                     `json:"createdAt,omitzero"`
	CreatedBy                     string                          `json:"createdBy,omitzero"`
	CurrentServiceDeployment      string                          `json:"currentServiceDeployment,omitzero"`
	CurrentServiceRevisions       []ServiceCurrentRevisionSummary `json:"currentServiceRevisions,omitzero"`
	DeploymentConfiguration       *DeploymentConfiguration        `json:"deploymentConfiguration,omitzero"`
	DeploymentController          *DeploymentController           `json:"deploymentController,omitzero"`
	Deployments                   []Deployment                    `json:"deployments,omitzero"`
	DesiredCount                  int32                           `json:"desiredCount"`
	EnableECSManagedTags          bool                            `json:"enableECSManagedTags"`
	EnableExecuteCommand          bool                            `json:"enableExecuteCommand"`
	Events                        []ServiceEvent                  `json:"events,omitzero"`
	HealthCheckGracePeriodSeconds *int32                          `json:"healthCheckGracePeriodSeconds,omitzero"`
	LaunchType                    string                          `json:"launchType,omitzero"`
	LoadBalancers                 []LoadBalancer                  `json:"loadBalancers,omitzero"`
	NetworkConfiguration          *NetworkConfiguration           `json:"networkConfiguration,omitzero"`
	PendingCount                  int32                           `json:"pendingCount"`
	PlacementConstraints          []PlacementConstraint           `json:"placementConstraints,omitzero"`
	PlacementStrategy             []PlacementStrategy             `json:"placementStrategy,omitzero"`
	PlatformFamily                string                          `json:"platformFamily,omitzero"`
	PlatformVersion               string                          `json:"platformVersion,omitzero"`
	PropagateTags                 string                          `json:"propagateTags,omitzero"`
	ResourceManagementType        string                          `json:"resourceManagementType,omitzero"`
	RoleArn                       string                          `json:"roleArn,omitzero"`
	RunningCount                  int32                           `json:"runningCount"`
	SchedulingStrategy            string                          `json:"schedulingStrategy,omitzero"`
	ServiceArn                    string                          `json:"serviceArn,omitzero"`
	ServiceName                   string                          `json:"serviceName,omitzero"`
	ServiceRegistries             []ServiceRegistry               `json:"serviceRegistries,omitzero"`
	Status                        string                          `json:"status,omitzero"`
	Tags                          []Tag                           `json:"tags,omitzero"`
	TaskDefinition                string                          `json:"taskDefinition,omitzero"`
	TaskSets                      []TaskSet                       `json:"taskSets,omitzero"`
}

// ServiceConnectAccessLogConfiguration is the type of that name in the API.
type ServiceConnectAccessLogConfiguration struct {
	Format                 string `json:"format,omitzero"`
	IncludeQueryParameters string `json:"includeQueryParameters,omitzero"`
}

// ServiceConnectClientAlias is the type of that name in the API.
type ServiceConnectClientAlias struct {
	Port             *int32                          `json:"port,omitzero"`
	DnsName          string                          `json:"dnsName,omitzero"`
	TestTrafficRules *ServiceConnectTestTrafficRules `json:"testTrafficRules,omitzero"`
}

// ServiceConnectConfiguration is the type of that name in the API.
type ServiceConnectConfiguration struct {
	Enabled                bool                                  `json:"enabled"`
	AccessLogConfiguration *ServiceConnectAccessLogConfiguration `json:"accessLogConfiguration,omitzero"`
	LogConfiguration       *LogConfiguration                     `json:"logConfiguration,omitzero"`
	Namespace              string                                `json:"namespace,omitzero"`
	Services               []ServiceConnectService               `json:"services,omitzero"`
}

// ServiceConnectService is the type of that name in the API.
type ServiceConnectService struct {
	PortName            string                          `json:"portName,omitzero"`
	ClientAliases       []ServiceConnectClientAlias     `json:"clientAliases,omitzero"`
	DiscoveryName       string                          `json:"discoveryName,omitzero"`
	IngressPortOverride *int32                          `json:"ingressPortOverride,omitzero"`
	Timeout             *TimeoutConfiguration           `json:"timeout,omitzero"`
	Tls                 *ServiceConnectTlsConfiguration `json:"tls,omitzero"`
}

// ServiceConnectServiceResource is the type of that name in the API.
type ServiceConnectServiceResource struct {
	DiscoveryArn  string `json:"discoveryArn,omitzero"`
	DiscoveryName string `json:"discoveryName,omitzero"`
}

// ServiceConnectTestTrafficHeaderMatchRules is the type of that name in the API.
type ServiceConnectTestTrafficHeaderMatchRules struct {
	Exact string `json:"exact,omitzero"`
}

// ServiceConnectTestTrafficHeaderRules is the type of that name in the API.
type ServiceConnectTestTrafficHeaderRules struct {
	Name  string                                     `json:"name,omitzero"`
	Value *ServiceConnectTestTrafficHeaderMatchRules `json:"value,omitzero"`
}

// ServiceConnectTestTrafficRules is the type of that name in the API.
type ServiceConnectTestTrafficRules struct {
	Header *ServiceConnectTestTrafficHeaderRules `json:"header,omitzero"`
}

// ServiceConnectTlsCertificateAuthority is the type of that name in the API.
type ServiceConnectTlsCertificateAuthority struct {
	AwsPcaAuthorityArn string `json:"awsPcaAuthorityArn,omitzero"`
}

// ServiceConnectTlsConfiguration is the type of that name in the API.
type ServiceConnectTlsConfiguration struct {
	IssuerCertificateAuthority *ServiceConnectTlsCertificateAuthority `json:"issuerCertificateAuthority,omitzero"`
	KmsKey                     string                                 `json:"kmsKey,omitzero"`
	RoleArn                    string                                 `json:"roleArn,omitzero"`
}

// ServiceCurrentRevisionSummary is the type of that name in the API.
type ServiceCurrentRevisionSummary struct {
	Arn                string `json:"arn,omitzero"`
	PendingTaskCount   int32  `json:"pendingTaskCount"`
	RequestedTaskCount int32  `json:"requestedTaskCount"`
	RunningTaskCount   int32  `json:"runningTaskCount"`
}

// ServiceDeployment is the type of that name in the API.
type ServiceDeployment struct {
	Alarms                   *ServiceDeploymentAlarms         `json:"alarms,omitzero"`
	ClusterArn               string                           `json:"clusterArn,omitzero"`
	CreatedAt                *epoch.Time                      `json:"createdAt,omitzero"`
	DeploymentCircuitBreaker *ServiceDeploymentCircuitBreaker `json:"deploymentCircuitBreaker,omitzero"`
	DeploymentConfiguration  *DeploymentConfiguration         `json:"deploymentConfiguration,omitzero"`
	FinishedAt               *epoch.Time                      `json:"finishedAt,omitzero"`
	LifecycleHookDetails     []DeploymentLifecycleHookDetail  `json:"lifecycleHookDetails,omitzero"`
	LifecycleStage           string                           `json:"lifecycleStage,omitzero"`
	Rollback                 *Rollback                        `json:"rollback,omitzero"`
	ServiceArn               string                           `json:"serviceArn,omitzero"`
	ServiceDeploymentArn     string                           `json:"serviceDeploymentArn,omitzero"`
	SourceServiceRevisions   []ServiceRevisionSummary         `json:"sourceServiceRevisions,omitzero"`
	StartedAt                *epoch.Time                      `json:"startedAt,omitzero"`
	Status                   string                           `json:"status,omitzero"`
	StatusReason             string                           `json:"statusReason,omitzero"`
	StoppedAt                *epoch.Time                      `json:"stoppedAt,omitzero"`
	TargetServiceRevision    *ServiceRevisionSummary          `json:"targetServiceRevision,omitzero"`
	UpdatedAt                *epoch.Time                      `json:"updatedAt,omitzero"`
}

// ServiceDeploymentAlarms is the type of that name in the API.
type ServiceDeploymentAlarms struct {
	AlarmNames          []string `json:"alarmNames,omitzero"`
	Status              string   `json:"status,omitzero"`
	TriggeredAlarmNames []string `json:"triggeredAlarmNames,omitzero"`
}

// ServiceDeploymentBrief is the type of that name in the API.
type ServiceDeploymentBrief struct {
	ClusterArn               string      `json:"clusterArn,omitzero"`
	CreatedAt                *epoch.Time `json:"createdAt,omitzero"`
	FinishedAt               *epoch.Time `json:"finishedAt,omitzero"`
	ServiceArn               string      `json:"serviceArn,omitzero"`
	ServiceDeploymentArn     string      `json:"serviceDeploymentArn,omitzero"`
	StartedAt                *epoch.Time `json:"startedAt,omitzero"`
	Status                   string      `json:"status,omitzero"`
	StatusReason             string      `json:"statusReason,omitzero"`
	TargetServiceRevisionArn string      `json:"targetServiceRevisionArn,omitzero"`
}

// ServiceDeploymentCircuitBreaker is the type of that name in the API.
type ServiceDeploymentCircuitBreaker struct {
	FailureCount int32  `json:"failureCount"`
	Status       string `json:"status,omitzero"`
	Threshold    int32  `json:"threshold"`
}

// ServiceEvent is the type of that name in the API.
type ServiceEvent struct {
	CreatedAt *epoch.Time `json:"createdAt,omitzero"`
	Id        string      `json:"id,omitzero"`
	Message   string      `json:"message,omitzero"`
}

// ServiceManagedEBSVolumeConfiguration is the type of that name in the API.
type ServiceManagedEBSVolumeConfiguration struct {
	RoleArn                  string                `json:"roleArn,omitzero"`
	Encrypted                *bool                 `json:"encrypted,omitzero"`
	FilesystemType           string                `json:"filesystemType,omitzero"`
	Iops                     *int32                `json:"iops,omitzero"`
	KmsKeyId                 string                `json:"kmsKeyId,omitzero"`
	SizeInGiB                *int32                `json:"sizeInGiB,omitzero"`
	SnapshotId               string                `json:"snapshotId,omitzero"`
	TagSpecifications        []EBSTagSpecification `json:"tagSpecifications,omitzero"`
	Throughput               *int32                `json:"throughput,omitzero"`
	VolumeInitializationRate *int32                `json:"volumeInitializationRate,omitzero"`
	VolumeType               string                `json:"volumeType,omitzero"`
}

// ServiceRegistry is the type of that name in the API.
type ServiceRegistry struct {
	ContainerName string `json:"containerName,omitzero"`
	ContainerPort *int32 `json:"containerPort,omitzero"`
	Port          *int32 `json:"port,omitzero"`
	RegistryArn   string `json:"registryArn,omitzero"`
}

// ServiceRevision is the type of that name in the API.
type ServiceRevision struct {
	CapacityProviderStrategy    []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitzero"`
	ClusterArn                  string                         `json:"clusterArn,omitzero"`
	ContainerImages             []ContainerImage               `json:"containerImages,omitzero"`
	CreatedAt                   *epoch.Time                    `json:"createdAt,omitzero"`
	FargateEphemeralStorage     *DeploymentEphemeralStorage    `json:"fargateEphemeralStorage,omitzero"`
	GatewayConnectors           []GatewayConnector             `json:"gatewayConnectors,omitzero"`
	GuardDutyEnabled            bool                           `json:"guardDutyEnabled"`
	LaunchType                  string                         `json:"launchType,omitzero"`
	LoadBalancers               []LoadBalancer                 `json:"loadBalancers,omitzero"`
	Monitoring                  *MonitoringConfiguration       `json:"monitoring,omitzero"`
	NetworkConfiguration        *NetworkConfiguration          `json:"networkConfiguration,omitzero"`
	Overrides                   *ServiceRevisionOverrides      `json:"overrides,omitzero"`
	PlatformFamily              string                         `json:"platformFamily,omitzero"`
	PlatformVersion             string                         `json:"platformVersion,omitzero"`
	ResolvedConfiguration       *ResolvedConfiguration         `json:"resolvedConfiguration,omitzero"`
	ServiceArn                  string                         `json:"serviceArn,omitzero"`
	ServiceConnectConfiguration *ServiceConnectConfiguration   `json:"serviceConnectConfiguration,omitzero"`
	ServiceRegistries           []ServiceRegistry              `json:"serviceRegistries,omitzero"`
	ServiceRevisionArn          string                         `json:"serviceRevisionArn,omitzero"`
	TaskDefinition              string                         `json:"taskDefinition,omitzero"`
	VolumeConfigurations        []ServiceVolumeConfiguration   `json:"volumeConfigurations,omitzero"`
	VpcLatticeConfigurations    []VpcLatticeConfiguration      `json:"vpcLatticeConfigurations,omitzero"`
}

// ServiceRevisionLoadBalancer is the type of that name in the API.
type ServiceRevisionLoadBalancer struct {
	ProductionListenerRule string `json:"productionListenerRule,omitzero"`
	TargetGroupArn         string `json:"targetGroupArn,omitzero"`
}

// ServiceRevisionOverrides is the type of that name in the API.
type ServiceRevisionOverrides struct {
	RuntimePlatform *RuntimePlatformOverride `json:"runtimePlatform,omitzero"`
}

// ServiceRevisionSummary is the type of that name in the API.
type ServiceRevisionSummary struct {
	Arn                              string   `json:"arn,omitzero"`
	PendingTaskCount                 int32    `json:"pendingTaskCount"`
	RequestedProductionTrafficWeight *float64 `json:"requestedProductionTrafficWeight,omitzero"`
	RequestedTaskCount               int32    `json:"requestedTaskCount"`
	RequestedTestTrafficWeight       *float64 `json:"requestedTestTrafficWeight,omitzero"`
	RunningTaskCount                 int32    `json:"runningTaskCount"`
}

// ServiceRevisionVpcLatticeConfiguration is the type of that name in the API.
type ServiceRevisionVpcLatticeConfiguration struct {
	ProductionListenerRule string `json:"productionListenerRule,omitzero"`
	TargetGroupArn         string `json:"targetGroupArn,omitzero"`
}

// ServiceVolumeConfiguration is the type of that name in the API.
type ServiceVolumeConfiguration struct {
	Name             string                                `json:"name,omitzero"`
	ManagedEBSVolume *ServiceManagedEBSVolumeConfiguration `json:"managedEBSVolume,omitzero"`
}

// Session is the type of that name in the API.
type Session struct {
	SessionId  string `json:"sessionId,omitzero"`
	StreamUrl  string `json:"streamUrl,omitzero"`
	TokenValue string `json:"tokenValue,omitzero"`
}

// Setting is the type of that name in the API.
type Setting struct {
	Name         string `json:"name,omitzero"`
	PrincipalArn string `json:"principalArn,omitzero"`
	Type         string `json:"type,omitzero"`
	Value        string `json:"value,omitzero"`
}

// SystemControl is the type of that name in the API.
type SystemControl struct {
	Namespace string `json:"namespace,omitzero"`
	Value     string `json:"value,omitzero"`
}

// Tag is the type of that name in the API.
type Tag struct {
	Key   string `json:"key,omitzero"`
	Value string `json:"value"`
}

// Task is the type of that name in the API.
type Task struct {
	Attachments             []Attachment           `json:"attachments,omitzero"`
	Attributes              []Attribute            `json:"attributes,omitzero"`
	AvailabilityZone        string                 `json:"availabilityZone,omitzero"`
	CapacityProviderName    string                 `json:"capacityProviderName,omitzero"`
	ClusterArn              string                 `json:"clusterArn,omitzero"`
	Connectivity            string                 `json:"connectivity,omitzero"`
	ConnectivityAt          *epoch.Time            `json:"connectivityAt,omitzero"`
	ContainerInstanceArn    string                 `json:"containerInstanceArn,omitzero"`
	Containers              []Container            `json:"containers,omitzero"`
	Cpu                     string                 `json:"cpu,omitzero"`
	CreatedAt               *epoch.Time            `json:"createdAt,omitzero"`
	DesiredStatus           string                 `json:"desiredStatus,omitzero"`
	EnableExecuteCommand    bool                   `json:"enableExecuteCommand"`
	EphemeralStorage        *EphemeralStorage      `json:"ephemeralStorage,omitzero"`
	ExecutionStoppedAt      *epoch.Time            `json:"executionStoppedAt,omitzero"`
	FargateEphemeralStorage *TaskEphemeralStorage  `json:"fargateEphemeralStorage,omitzero"`
	Group                   string                 `json:"group,omitzero"`
	HealthStatus            string                 `json:"healthStatus,omitzero"`
	InferenceAccelerators   []InferenceAccelerator `json:"inferenceAccelerators,omitzero"`
	LastStatus              string                 `json:"lastStatus,omitzero"`
	LaunchType              string                 `json:"launchType,omitzero"`
	Memory                  string                 `json:"memory,omitzero"`
	Overrides               *TaskOverride          `json:"overrides,omitzero"`
	PlatformFamily          string                 `json:"platformFamily,omitzero"`
	PlatformVersion         string                 `json:"platformVersion,omitzero"`
	PullStartedAt           *epoch.Time            `json:"pullStartedAt,omitzero"`
	PullStoppedAt           *epoch.Time            `json:"pullStoppedAt,omitzero"`
	StartedAt               *epoch.Time            `json:"startedAt,omitzero"`
	StartedBy               string                 `json:"startedBy,omitzero"`
	StopCode                string                 `json:"stopCode,omitzero"`
	StoppedAt               *epoch.Time            `json:"stoppedAt,omitzero"`
	StoppedReason           string                 `json:"stoppedReason,omitzero"`
	StoppingAt              *epoch.Time            `json:"stoppingAt,omitzero"`
	Tags                    []Tag                  `json:"tags,omitzero"`
	TaskArn                 string                 `json:"taskArn,omitzero"`
	TaskDefinitionArn       string                 `json:"taskDefinitionArn,omitzero"`
	Version                 int64                  `json:"version"`
}

// TaskDefinition is the type of that name in the API.
type TaskDefinition struct {
	Compatibilities         []string                            `json:"compatibilities,omitzero"`
	ContainerDefinitions    []ContainerDefinition               `json:"containerDefinitions,omitzero"`
	Cpu                     string                              `json:"cpu,omitzero"`
	DeleteRequestedAt       *epoch.Time                         `json:"deleteRequestedAt,omitzero"`
	DeregisteredAt          *epoch.Time                         `json:"deregisteredAt,omitzero"`
	EnableFaultInjection    *bool                               `json:"enableFaultInjection,omitzero"`
	EphemeralStorage        *EphemeralStorage                   `json:"ephemeralStorage,omitzero"`
	ExecutionRoleArn        string                              `json:"executionRoleArn,omitzero"`
	Family                  string                              `json:"family,omitzero"`
	InferenceAccelerators   []InferenceAccelerator              `json:"inferenceAccelerators,omitzero"`
	IpcMode                 string                              `json:"ipcMode,omitzero"`
	Memory                  string                              `json:"memory,omitzero"`
	NetworkMode             string                              `json:"networkMode,omitzero"`
	PidMode                 string                              `json:"pidMode,omitzero"`
	PlacementConstraints    []TaskDefinitionPlacementConstraint `json:"placementConstraints,omitzero"`
	ProxyConfiguration      *ProxyConfiguration                 `json:"proxyConfiguration,omitzero"`
	RegisteredAt            *epoch.Time                         `json:"registeredAt,omitzero"`
	RegisteredBy            string                              `json:"registeredBy,omitzero"`
	RequiresAttributes      []Attribute                         `json:"requiresAttributes,omitzero"`
	RequiresCompatibilities []string                            `json:"requiresCompatibilities,omitzero"`
	Revision                int32                               `json:"revision"`
	RuntimePlatform         *RuntimePlatform                    `json:"runtimePlatform,omitzero"`
	Status                  string                              `json:"status,omitzero"`
	TaskDefinitionArn       string                              `json:"taskDefinitionArn,omitzero"`
	TaskRoleArn             string                              `json:"taskRoleArn,omitzero"`
	Volumes                 []Volume                            `json:"volumes,omitzero"`
}

// TaskDefinitionPlacementConstraint is the type of that name in the API.
type TaskDefinitionPlacementConstraint struct {
	Expression string `json:"expression,omitzero"`
	Type       string `json:"type,omitzero"`
}

// TaskEphemeralStorage is the type of that name in the API.
type TaskEphemeralStorage struct {
	KmsKeyId  string `json:"kmsKeyId,omitzero"`
	SizeInGiB int32  `json:"sizeInGiB"`
}

// TaskManagedEBSVolumeConfiguration is the type of that name in the API.
type TaskManagedEBSVolumeConfiguration struct {
	RoleArn                  string                                 `json:"roleArn,omitzero"`
	Encrypted                *bool                                  `json:"encrypted,omitzero"`
	FilesystemType           string                                 `json:"filesystemType,omitzero"`
	Iops                     *int32                                 `json:"iops,omitzero"`
	KmsKeyId                 string                                 `json:"kmsKeyId,omitzero"`
	SizeInGiB                *int32                                 `json:"sizeInGiB,omitzero"`
	SnapshotId               string                                 `json:"snapshotId,omitzero"`
	TagSpecifications        []EBSTagSpecification                  `json:"tagSpecifications,omitzero"`
	TerminationPolicy        *TaskManagedEBSVolumeTerminationPolicy `json:"terminationPolicy,omitzero"`
	Throughput               *int32                                 `json:"throughput,omitzero"`
	VolumeInitializationRate *int32                                 `json:"volumeInitializationRate,omitzero"`
	VolumeType               string                                 `json:"volumeType,omitzero"`
}

// TaskManagedEBSVolumeTerminationPolicy is the type of that name in the API.
type TaskManagedEBSVolumeTerminationPolicy struct {
	DeleteOnTermination *bool `json:"deleteOnTermination,omitzero"`
}

// TaskOverride is the type of that name in the API.
type TaskOverride struct {
	ContainerOverrides            []ContainerOverride            `json:"containerOverrides,omitzero"`
	Cpu                           string                         `json:"cpu,omitzero"`
	EphemeralStorage              *EphemeralStorage              `json:"ephemeralStorage,omitzero"`
	ExecutionRoleArn              string                         `json:"executionRoleArn,omitzero"`
	InferenceAcceleratorOverrides []InferenceAcceleratorOverride `json:"inferenceAcceleratorOverrides,omitzero"`
	Memory                        string                         `json:"memory,omitzero"`
	TaskRoleArn                   string                         `json:"taskRoleArn,omitzero"`
}

// TaskSet is the type of that name in the API.
type TaskSet struct {
	CapacityProviderStrategy []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitzero"`
	ClusterArn               string                         `json:"clusterArn,omitzero"`
	ComputedDesiredCount     int32                          `json:"computedDesiredCount"`
	CreatedAt                *epoch.Time                    `json:"createdAt,omitzero"`
	ExternalId               string                         `json:"externalId,omitzero"`
	FargateEphemeralStorage  *DeploymentEphemeralStorage    `json:"fargateEphemeralStorage,omitzero"`
	Id                       string                         `json:"id,omitzero"`
	LaunchType               string                         `json:"launchType,omitzero"`
	LoadBalancers            []LoadBalancer                 `json:"loadBalancers,omitzero"`
	NetworkConfiguration     *NetworkConfiguration          `json:"networkConfiguration,omitzero"`
	PendingCount             int32                          `json:"pendingCount"`
	PlatformFamily           string                         `json:"platformFamily,omitzero"`
	PlatformVersion          string                         `json:"platformVersion,omitzero"`
	RunningCount             int32                          `json:"runningCount"`
	Scale                    *Scale                         `json:"scale,omitzero"`
	ServiceArn               string                         `json:"serviceArn,omitzero"`
	ServiceRegistries        []ServiceRegistry              `json:"serviceRegistries,omitzero"`
	StabilityStatus          string                         `json:"stabilityStatus,omitzero"`
	StabilityStatusAt        *epoch.Time                    `json:"stabilityStatusAt,omitzero"`
	StartedBy                string                         `json:"startedBy,omitzero"`
	Status                   string                         `json:"status,omitzero"`
	Tags                     []Tag                          `json:"tags,omitzero"`
	TaskDefinition           string                         `json:"taskDefinition,omitzero"`
	TaskSetArn               string                         `json:"taskSetArn,omitzero"`
	UpdatedAt                *epoch.Time                    `json:"updatedAt,omitzero"`
}

// TaskVolumeConfiguration is the type of that name in the API.
type TaskVolumeConfiguration struct {
	Name             string                             `json:"name,omitzero"`
	ManagedEBSVolume *TaskManagedEBSVolumeConfiguration `json:"managedEBSVolume,omitzero"`
}

// ThresholdConfiguration is the type of that name in the API.
type ThresholdConfiguration struct {
	Type  string `json:"type,omitzero"`
	Value int32  `json:"value"`
}

// TimeoutConfiguration is the type of that name in the API.
type TimeoutConfiguration struct {
	IdleTimeoutSeconds       *int32 `json:"idleTimeoutSeconds,omitzero"`
	PerRequestTimeoutSeconds *int32 `json:"perRequestTimeoutSeconds,omitzero"`
}

// Tmpfs is the type of that name in the API.
type Tmpfs struct {
	ContainerPath string   `json:"containerPath,omitzero"`
	Size          int32    `json:"size"`
	MountOptions  []string `json:"mountOptions,omitzero"`
}

// Ulimit is the type of that name in the API.
type Ulimit struct {
	HardLimit int32  `json:"hardLimit"`
	Name      string `json:"name,omitzero"`
	SoftLimit int32  `json:"softLimit"`
}

// VersionInfo is the type of that name in the API.
type VersionInfo struct {
	AgentHash     string `json:"agentHash,omitzero"`
	AgentVersion  string `json:"agentVersion,omitzero"`
	DockerVersion string `json:"dockerVersion,omitzero"`
}

// Volume is the type of that name in the API.
type Volume struct {
	ConfiguredAtLaunch                      *bool                                    `json:"configuredAtLaunch,omitzero"`
	DockerVolumeConfiguration               *DockerVolumeConfiguration               `json:"dockerVolumeConfiguration,omitzero"`
	EfsVolumeConfiguration                  *EFSVolumeConfiguration                  `json:"efsVolumeConfiguration,omitzero"`
	FsxWindowsFileServerVolumeConfiguration *FSxWindowsFileServerVolumeConfiguration `json:"fsxWindowsFileServerVolumeConfiguration,omitzero"`
	Host                                    *HostVolumeProperties                    `json:"host,omitzero"`
	Name                                    string                                   `json:"name,omitzero"`
	S3filesVolumeConfiguration              *S3FilesVolumeConfiguration              `json:"s3filesVolumeConfiguration,omitzero"`
}

// VolumeFrom is the type of that name in the API.
type VolumeFrom struct {
	ReadOnly        *bool  `json:"readOnly,omitzero"`
	SourceContainer string `json:"sourceContainer,omitzero"`
}

// VpcLatticeAdvancedConfiguration is the type of that name in the API.
type VpcLatticeAdvancedConfiguration struct {
	AlternateTargetGroupArn string `json:"alternateTargetGroupArn,omitzero"`
	ProductionListenerRule  string `json:"productionListenerRule,omitzero"`
	TestListenerRule        string `json:"testListenerRule,omitzero"`
}

// VpcLatticeConfiguration is the type of that name in the API.
type VpcLatticeConfiguration struct {
	PortName              string                           `json:"portName,omitzero"`
	RoleArn               string                           `json:"roleArn,omitzero"`
	TargetGroupArn        string                           `json:"targetGroupArn,omitzero"`
	AdvancedConfiguration *VpcLatticeAdvancedConfiguration `json:"advancedConfiguration,omitzero"`
}
