package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/recipes.md has a row for each built-in recipe, and none for others.
func TestRecipesAreDocumented(t *testing.T) {
	const folder = "internal/recipe/recipes"
	text, err := os.ReadFile(filepath.Join(root, "docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".yaml")
		if row := "| [" + name + "](../" + folder + "/" + entry.Name() + ") |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/recipes.md has no row that begins %q", row)
		}
	}
	if rows := strings.Count(string(text), "](../"+folder+"/"); rows != len(entries) {
		t.Errorf("docs/recipes.md has %d rows for %d recipes", rows, len(entries))
	}
}
