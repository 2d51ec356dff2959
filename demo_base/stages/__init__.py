"""One script for each stage of ``demo_base/dvc.yaml``."""
