// Package wire has the shapes of the API of CloudWatch Logs: what its actions take
// and answer, with the names that members have in JSON.
package wire

// CreateLogGroupInput is what CreateLogGroup takes.
type CreateLogGroupInput struct {
	LogGroupName              string            `json:"logGroupName,omitzero"`
	DeletionProtectionEnabled *bool             `json:"deletionProtectionEnabled,omitzero"`
	KmsKeyId                  string            `json:"kmsKeyId,omitzero"`
	LogGroupClass             string            `json:"logGroupClass,omitzero"`
	Tags                      map[string]string `json:"tags,omitzero"`
}

// CreateLogGroupOutput is what CreateLogGroup answers.
type CreateLogGroupOutput struct {
}

// DeleteLogGroupInput is what DeleteLogGroup takes.
type DeleteLogGroupInput struct {
	LogGroupName string `json:"logGroupName,omitzero"`
}

// DeleteLogGroupOutput is what DeleteLogGroup answers.
type DeleteLogGroupOutput struct {
}

// DescribeLogGroupsInput is what DescribeLogGroups takes.
type DescribeLogGroupsInput struct {
	AccountIdentifiers    []string `json:"accountIdentifiers,omitzero"`
	IncludeLinkedAccounts *bool    `json:"includeLinkedAccounts,omitzero"`
	Limit                 *int32   `json:"limit,omitzero"`
	LogGroupClass         string   `json:"logGroupClass,omitzero"`
	LogGroupIdentifiers   []string `json:"logGroupIdentifiers,omitzero"`
	LogGroupNamePattern   string   `json:"logGroupNamePattern,omitzero"`
	LogGroupNamePrefix    string   `json:"logGroupNamePrefix,omitzero"`
	NextToken             string   `json:"nextToken,omitzero"`
}

// DescribeLogGroupsOutput is what DescribeLogGroups answers.
type DescribeLogGroupsOutput struct {
	LogGroups []LogGroup `json:"logGroups,omitzero"`
	NextToken string     `json:"nextToken,omitzero"`
}

// PutRetentionPolicyInput is what PutRetentionPolicy takes.
type PutRetentionPolicyInput struct {
	LogGroupName    string `json:"logGroupName,omitzero"`
	RetentionInDays *int32 `json:"retentionInDays,omitzero"`
}

// PutRetentionPolicyOutput is what PutRetentionPolicy answers.
type PutRetentionPolicyOutput struct {
}

// DeleteRetentionPolicyInput is what DeleteRetentionPolicy takes.
type DeleteRetentionPolicyInput struct {
	LogGroupName string `json:"logGroupName,omitzero"`
}

// DeleteRetentionPolicyOutput is what DeleteRetentionPolicy answers.
type DeleteRetentionPolicyOutput struct {
}

// CreateLogStreamInput is what CreateLogStream takes.
type CreateLogStreamInput struct {
	LogGroupName  string `json:"logGroupName,omitzero"`
	LogStreamName string `json:"logStreamName,omitzero"`
}

// CreateLogStreamOutput is what CreateLogStream answers.
type CreateLogStreamOutput struct {
}

// DeleteLogStreamInput is what DeleteLogStream takes.
type DeleteLogStreamInput struct {
	LogGroupName  string `json:"logGroupName,omitzero"`
	LogStreamName string `json:"logStreamName,omitzero"`
}

// DeleteLogStreamOutput is what DeleteLogStream answers.
type DeleteLogStreamOutput struct {
}

// DescribeLogStreamsInput is what DescribeLogStreams takes.
type DescribeLogStreamsInput struct {
	Descending          *bool  `json:"descending,omitzero"`
	Limit               *int32 `json:"limit,omitzero"`
	LogGroupIdentifier  string `json:"logGroupIdentifier,omitzero"`
	LogGroupName        string `json:"logGroupName,omitzero"`
	LogStreamNamePrefix string `json:"logStreamNamePrefix,omitzero"`
	NextToken           string `json:"nextToken,omitzero"`
	OrderBy             string `json:"orderBy,omitzero"`
}

// DescribeLogStreamsOutput is what DescribeLogStreams answers.
type DescribeLogStreamsOutput struct {
	LogStreams []LogStream `json:"logStreams,omitzero"`
	NextToken  string      `json:"nextToken,omitzero"`
}

// PutLogEventsInput is what PutLogEvents takes.
type PutLogEventsInput struct {
	LogEvents     []InputLogEvent `json:"logEvents,omitzero"`
	LogGroupName  string          `json:"logGroupName,omitzero"`
	LogStreamName string          `json:"logStreamName,omitzero"`
	Entity        *Entity         `json:"entity,omitzero"`
	SequenceToken string          `json:"sequenceToken,omitzero"`
}

// PutLogEventsOutput is what PutLogEvents answers.
type PutLogEventsOutput struct {
	NextSequenceToken     string                 `json:"nextSequenceToken,omitzero"`
	RejectedEntityInfo    *RejectedEntityInfo    `json:"rejectedEntityInfo,omitzero"`
	RejectedLogEventsInfo *RejectedLogEventsInfo `json:"rejectedLogEventsInfo,omitzero"`
}

// GetLogEventsInput is what GetLogEvents takes.
type GetLogEventsInput struct {
	LogStreamName      string `json:"logStreamName,omitzero"`
	EndTime            *int64 `json:"endTime,omitzero"`
	Limit              *int32 `json:"limit,omitzero"`
	LogGroupIdentifier string `json:"logGroupIdentifier,omitzero"`
	LogGroupName       string `json:"logGroupName,omitzero"`
	NextToken          string `json:"nextToken,omitzero"`
	StartFromHead      *bool  `json:"startFromHead,omitzero"`
	StartTime          *int64 `json:"startTime,omitzero"`
	Unmask             bool   `json:"unmask"`
}

// GetLogEventsOutput is what GetLogEvents answers.
type GetLogEventsOutput struct {
	Events            []OutputLogEvent `json:"events,omitzero"`
	NextBackwardToken string           `json:"nextBackwardToken,omitzero"`
	NextForwardToken  string           `json:"nextForwardToken,omitzero"`
}

// FilterLogEventsInput is what FilterLogEvents takes.
type FilterLogEventsInput struct {
	EndTime             *int64   `json:"endTime,omitzero"`
	FilterPattern       string   `json:"filterPattern,omitzero"`
	Interleaved         *bool    `json:"interleaved,omitzero"`
	Limit               *int32   `json:"limit,omitzero"`
	LogGroupIdentifier  string   `json:"logGroupIdentifier,omitzero"`
	LogGroupName        string   `json:"logGroupName,omitzero"`
	LogStreamNamePrefix string   `json:"logStreamNamePrefix,omitzero"`
	LogStreamNames      []string `json:"logStreamNames,omitzero"`
	NextToken           string   `json:"nextToken,omitzero"`
	StartFromHead       *bool    `json:"startFromHead,omitzero"`
	StartTime           *int64   `json:"startTime,omitzero"`
	Unmask              bool     `json:"unmask"`
}

// FilterLogEventsOutput is what FilterLogEvents answers.
type FilterLogEventsOutput struct {
	Events             []FilteredLogEvent  `json:"events,omitzero"`
	NextToken          string              `json:"nextToken,omitzero"`
	SearchedLogStreams []SearchedLogStream `json:"searchedLogStreams,omitzero"`
}

// TagLogGroupInput is what TagLogGroup takes.
type TagLogGroupInput struct {
	LogGroupName string            `json:"logGroupName,omitzero"`
	Tags         map[string]string `json:"tags,omitzero"`
}

// TagLogGroupOutput is what TagLogGroup answers.
type TagLogGroupOutput struct {
}

// UntagLogGroupInput is what UntagLogGroup takes.
type UntagLogGroupInput struct {
	LogGroupName string   `json:"logGroupName,omitzero"`
	Tags         []string `json:"tags,omitzero"`
}

// UntagLogGroupOutput is what UntagLogGroup answers.
type UntagLogGroupOutput struct {
}

// ListTagsLogGroupInput is what ListTagsLogGroup takes.
type ListTagsLogGroupInput struct {
	LogGroupName string `json:"logGroupName,omitzero"`
}

// ListTagsLogGroupOutput is what ListTagsLogGroup answers.
type ListTagsLogGroupOutput struct {
	Tags map[string]string `json:"tags,omitzero"`
}

// TagResourceInput is what TagResource takes.
type TagResourceInput struct {
	ResourceArn string            `json:"resourceArn,omitzero"`
	Tags        map[string]string `json:"tags,omitzero"`
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
	Tags map[string]string `json:"tags,omitzero"`
}
