"""``python -m docs.reference`` renews the pages and schemas beside this file, which come from the code itself."""

from pathlib import Path

from docs.reference.generated import files


def main() -> None:
    """Write each file that is not as the code says, and name it."""
    for name, content in files().items():
        target = Path(__file__).with_name(name)
        if not target.is_file() or target.read_text(encoding="utf-8") != content:
            target.write_text(content, encoding="utf-8")
            print(f"renewed {target}")


if __name__ == "__main__":
    main()
