"""The scripts that TAO's tasks are called with: shell, because the containers have nothing of ours."""

from importlib.resources import files

__all__ = ["command"]


def command(name: str) -> list[str]:
    """Return the command of a container that runs ``_scripts/NAME.sh`` with the component's arguments."""
    folder = files("aerodet.components") / "_scripts"
    text = "\n".join((folder / f"{part}.sh").read_text(encoding="utf-8") for part in ("common", name))
    return ["bash", "-c", text, f"tao-{name}"]
