package templates

// A template comes from anywhere, so reading one is bounded: past these limits
// it ends in a diagnostic, whatever the file says. All are far above what
// people write by hand (a template of 100 steps has 10 KiB and 1,000 nodes).
const (
	// maxFile bounds the bytes of one template, included file or var file.
	// yaml.v3 needs up to 100 times a file's size, so this bounds memory too.
	maxFile = 1 << 20
	// maxDepth bounds how deep lists and mappings nest; everything that walks
	// the tree recurses.
	maxDepth = 64
	// maxNodes bounds the nodes of a file with its aliases expanded: ten
	// lines of aliases of aliases stand for a billion nodes.
	maxNodes = 100_000
	// maxBuilds bounds what matrix and builds make together.
	maxBuilds = 256
	// maxSteps bounds the steps of all builds of a template, so that a matrix
	// of includes of includes stays small.
	maxSteps = 10_000
	// maxIncludes bounds how often a template includes a file, counted with
	// repetition, and maxIncludeDepth how deep includes nest.
	maxIncludes     = 1_000
	maxIncludeDepth = 16
	// maxExpr bounds the bytes of one expression, and maxExprNodes the nodes
	// of its tree.
	maxExpr      = 4 << 10
	maxExprNodes = 500
	// maxResidue bounds the bytes of what is kept of an expression that has to
	// wait for the run, with the values of the names that are known in it.
	maxResidue = 16 * maxExpr
	// maxText bounds the bytes of a text that an expression makes, and of a
	// file that it reads.
	maxText = 1 << 20
	// maxMade bounds the bytes of text that all expressions of a template make
	// and read: a matrix of large values would fill the memory.
	maxMade = 32 << 20
	// maxElements bounds the elements of lists that one expression makes.
	maxElements = 10_000
	// maxDiagnostics bounds what is reported at once; the rest is counted.
	maxDiagnostics = 200
)
