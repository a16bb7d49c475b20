package templates

import "testing"

func TestAFileThatABlockNamesHasPlacesAndExpressionsOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "task.json", "{\n  \"family\": \"${{ var.name }}\",\n  \"cpu\": 256\n}\n")
	env := newEnv(dir, Options{})
	env.vars["name"] = variable{data: "api"}
	b := block(t, "task: task.json").At("task")
	b.env = env
	file, diags := b.File(true)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if got, _ := file.At("family").Text(); got != "api" {
		t.Errorf("family is %q", got)
	}
	if got, want := file.At("cpu").Pos(), (Pos{"task.json", 3, 10}); got != want {
		t.Errorf("cpu stands at %v, want %v", got, want)
	}
}

func TestAFileThatIsNotThereIsADiagnosticAtTheBlock(t *testing.T) {
	b := block(t, "task: missing.json").At("task")
	b.env = newEnv(t.TempDir(), Options{})
	_, diags := b.File(true)
	if len(diags) != 1 || diags[0].Pos.Line != 1 || diags[0].Pos.Col != 7 {
		t.Errorf("diagnostics %v", diags)
	}
}
