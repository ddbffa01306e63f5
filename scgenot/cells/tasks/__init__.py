"""Tasks: how AnnData becomes links, and what a `target` means."""
