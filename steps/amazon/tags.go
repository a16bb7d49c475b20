package amazon

// Tags that bake sets on everything it makes, in the creating call.
const (
	TagRun      = "bake:run"      // the run's id
	TagTemplate = "bake:template" // the template's name
	TagBuild    = "bake:build"    // the build's name
	TagToken    = "bake:token"    // builder.Resource.Token: what Cleaner.Find looks for
	TagExpires  = "bake:expires"  // RFC 3339; what is temporary may be removed after it
	TagKey      = "bake:key"      // on products: content address of everything that went in
	TagState    = "bake:state"    // on products: "candidate" until the tests have passed, then "ready"
)
