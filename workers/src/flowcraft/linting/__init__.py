"""What the linter looks at, one module for each kind of mistake."""
