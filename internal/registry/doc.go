// Package registry talks to container registries: it resolves names, pulls,
// pushes and lists over the OCI distribution API, which Docker v2 registries
// speak too. It uses go-containerregistry's names, types and authentication
// and adds what long transfers need: uploads and downloads that go on after a
// cut connection, retries that obey the registry, layers that are compressed
// on their way, and nothing sent that is there already. Content streams; the
// memory it takes does not depend on the size of a layer.
package registry
