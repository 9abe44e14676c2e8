"""`python -m conclip.negation`: captions in, negations out."""

import sys


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status; whatever goes wrong is told in one sentence."""
    # Here, since the processes that work run this file again, without a need for these.
    from conclip.negation.pipeline.arguments import NegateError, parse_arguments
    from conclip.negation.pipeline.run import write_folder

    try:
        arguments = parse_arguments(argv)
    except NegateError as error:
        return _fail(str(error), 2)
    try:
        print(write_folder(arguments))
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from here.", 130)
    except NegateError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{arguments.output_dir} could not be written: {error.strerror or error}.")
    return 0


def _fail(message: str, status: int = 1) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    import signal

    # A job that a scheduler ends must end its processes as one ended by Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
