package wire

// Entity is the type of that name in the API.
type Entity struct {
	Attributes    map[string]string `json:"attributes,omitzero"`
	KeyAttributes map[string]string `json:"keyAttributes,omitzero"`
}

// FilteredLogEvent is the type of that name in the API.
type FilteredLogEvent struct {
	EventId       string `json:"eventId,omitzero"`
	IngestionTime *int64 `json:"ingestionTime,omitzero"`
	LogStreamName string `json:"logStreamName,omitzero"`
	Message       string `json:"message,omitzero"`
	Timestamp     *int64 `json:"timestamp,omitzero"`
}

// InputLogEvent is the type of that name in the API.
type InputLogEvent struct {
	Message   string `json:"message,omitzero"`
	Timestamp *int64 `json:"timestamp,omitzero"`
}

// LogGroup is the type of that name in the API.
type LogGroup struct {
	Arn                              string   `json:"arn,omitzero"`
	BearerTokenAuthenticationEnabled *bool    `json:"bearerTokenAuthenticationEnabled,omitzero"`
	CreationTime                     *int64   `json:"creationTime,omitzero"`
	DataProtectionStatus             string   `json:"dataProtectionStatus,omitzero"`
	DeletionProtectionEnabled        *bool    `json:"deletionProtectionEnabled,omitzero"`
	InheritedProperties              []string `json:"inheritedProperties,omitzero"`
	KmsKeyId                         string   `json:"kmsKeyId,omitzero"`
	LogGroupArn                      string   `json:"logGroupArn,omitzero"`
	LogGroupClass                    string   `json:"logGroupClass,omitzero"`
	LogGroupName                     string   `json:"logGroupName,omitzero"`
	MetricFilterCount                *int32   `json:"metricFilterCount,omitzero"`
	RetentionInDays                  *int32   `json:"retentionInDays,omitzero"`
	RetentionPolicyName              string   `json:"retentionPolicyName,omitzero"`
	StoredBytes                      *int64   `json:"storedBytes,omitzero"`
}

// LogStream is the type of that name in the API.
type LogStream struct {
	Arn                 string `json:"arn,omitzero"`
	CreationTime        *int64 `json:"creationTime,omitzero"`
	FirstEventTimestamp *int64 `json:"firstEventTimestamp,omitzero"`
	LastEventTimestamp  *int64 `json:"lastEventTimestamp,omitzero"`
	LastIngestionTime   *int64 `json:"lastIngestionTime,omitzero"`
	LogStreamName       string `json:"logStreamName,omitzero"`
	StoredBytes         *int64 `json:"storedBytes,omitzero"`
	UploadSequenceToken string `json:"uploadSequenceToken,omitzero"`
}

// OutputLogEvent is the type of that name in the API.
type OutputLogEvent struct {
	IngestionTime *int64 `json:"ingestionTime,omitzero"`
	Message       string `json:"message,omitzero"`
	Timestamp     *int64 `json:"timestamp,omitzero"`
}

// RejectedEntityInfo is the type of that name in the API.
type RejectedEntityInfo struct {
	ErrorType string `json:"errorType,omitzero"`
}

// RejectedLogEventsInfo is the type of that name in the API.
type RejectedLogEventsInfo struct {
	ExpiredLogEventEndIndex  *int32 `json:"expiredLogEventEndIndex,omitzero"`
	TooNewLogEventStartIndex *int32 `json:"tooNewLogEventStartIndex,omitzero"`
	TooOldLogEventEndIndex   *int32 `json:"tooOldLogEventEndIndex,omitzero"`
}

// SearchedLogStream is the type of that name in the API.
type SearchedLogStream struct {
	LogStreamName      string `json:"logStreamName,omitzero"`
	SearchedCompletely *bool  `json:"searchedCompletely,omitzero"`
}
