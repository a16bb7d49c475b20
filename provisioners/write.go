package provisioners

import (
	"context"

	"bake/builder"
	"bake/templates"
)

// Write makes a file of text that stands in the template.
type Write struct {
	To      string         `yaml:"to" bake:"required" doc:"The file on the machine; a link in its place is replaced."`
	Content *string        `yaml:"content" bake:"required" doc:"What is in the file, exactly; end it with a newline."`
	Owner   Owner          `yaml:"owner" doc:"Whom the file belongs to: name or number, with :group if it is another. Default: root."`
	Mode    templates.Mode `yaml:"mode" default:"0644" doc:"Mode of the file."`
}

// Validate checks what the tags cannot say.
func (w *Write) Validate(b templates.Block) templates.Diagnostics {
	return absoluteFile(b, "to", w.To)
}

// Provision writes the file unless it is there already.
func (w *Write) Provision(ctx context.Context, _ *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	var content []byte
	if w.Content != nil {
		content = []byte(*w.Content)
	}
	n := newFile{path: w.To, owner: w.Owner, mode: fileMode(w.Mode, 0o644), size: int64(len(content)), open: opener(content)}
	return n.ensure(ctx, comm)
}
