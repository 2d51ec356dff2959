"""Run the command ``fishdvc`` as ``python -m fishdvc``."""

from fishdvc.cli.main import run

if __name__ == "__main__":
    run()
