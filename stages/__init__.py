"""The stages of dvc.yaml: each script binds paths and parameters to one call of the library."""
