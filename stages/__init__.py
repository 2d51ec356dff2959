"""Scripts of the stages in dvc.yaml. Each passes paths and parameters to one library function."""
