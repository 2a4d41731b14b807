"""The failures that a person is told about, each as one sentence that says what to do."""


class TrpotuiError(Exception):
    """Base of every failure whose message is written for the person at the terminal."""


class RequestError(TrpotuiError):
    """The request or a file is wrong (exit code 2): nothing was started, nothing was written."""


class PolicyFileError(RequestError):
    """A policy file is missing, damaged, foreign or unsafe."""


class NoDisplayError(RequestError):
    """There is no display on which a window would be seen."""


class RunError(TrpotuiError):
    """The run itself failed (exit code 1)."""


class EnvironmentFaultError(RunError):
    """An environment raised, or handed out data that must not enter a policy."""
