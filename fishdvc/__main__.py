"""``python -m fishdvc`` is the command ``fishdvc``."""

from fishdvc.cli.main import run

if __name__ == "__main__":
    run()
