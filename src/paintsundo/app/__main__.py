"""`python -m paintsundo.app`: serve the page."""

import sys


def main() -> int:
    """Serve, with the process's arguments; the exit code."""
    try:
        from paintsundo.app.server import main as serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("fastapi", "gradio", "starlette", "uvicorn"):
            raise
        print(f"error: the page needs {error.name}: pip install 'paintsundo[app]'", file=sys.stderr)
        return 2
    return serve()


if __name__ == "__main__":
    sys.exit(main())
