"""The command line behind scripts/package_model."""

from __future__ import annotations

import signal
import sys

from archive.disk import disk_fault
from archive.errors import PackagingError
from archive.layouts import store_of
from archive.naming import default_name, plain_name
from archive.options import parser
from archive.packing import Target
from archive.settings import Settings, packaging_defaults


def parse_arguments(arguments: list[str] | None = None) -> Settings:
    """Turn the command line into settings; argparse ends the process on a bad one."""
    chosen = parser().parse_args(arguments)
    defaults = packaging_defaults()
    name = default_name(chosen.model) if chosen.name is None else plain_name(chosen.name)
    return Settings(
        model=chosen.model,
        target=Target(
            name, chosen.version, store_of(chosen.output, chosen.layout), chosen.archive_format
        ),
        may_replace=chosen.replace,
        engine=chosen.engine,
        precision=chosen.precision or defaults["precision"],
        cache=chosen.cache or defaults["cache"],
        calibration_text=chosen.calibration_text,
        tokenizer=chosen.tokenizer,
        base=chosen.base,
        checks_only=chosen.check,
        chat_template=chosen.chat_template,
        layout=chosen.layout,
    )


def main() -> int:
    """Package or check a model; one line on stderr and status 1 if that fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        settings = parse_arguments()
        # Imported once the arguments are good, so that --help and mistakes are answered at once.
        from archive.package import check_model, package_model

        check_model(settings) if settings.checks_only else package_model(settings)
    except PackagingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of a place that no part of this has words for
        print(f"error: {disk_fault(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
