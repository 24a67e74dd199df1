"""What ``dsadapter run`` puts first in PYTHONPATH: Python imports it at every start.

It imports nothing, and does nothing but wait until the program imports ``socket``. Another
``sitecustomize``, which Python would have imported, is run all the same.
"""

# No annotations from the future: even that would be an import.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Targets that import socket halfway if nobody has: they have to be watched from their start.
_HALFWAY = frozenset(
    {
        "asyncio.base_events",
        "gevent._socket3",
        "trio._socket",
        "twisted.internet.posixbase",
        "uvloop",
    }
)
_STARTS = frozenset({"os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen"})


class Watcher:
    """A finder in ``sys.meta_path`` that finds nothing itself, and says when a module has run.

    :param wanted: the names of the modules.
    :param ran: called with each of them; what it raises stays here.
    """

    def __init__(self, wanted: "set[str]", ran: "Callable[[Any], None]") -> None:
        self.wanted = wanted
        self._ran = ran
        self._asking: set[str] = set()

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """What the other finders find, with a loader that says when it has run."""
        spec: Any
        if name in _HALFWAY and "socket" not in sys.modules:
            import socket  # noqa: F401
        # Another one like this may ask all finders, too.
        if name not in self.wanted or name in self._asking:
            return None
        self._asking.add(name)
        try:
            for finder in sys.meta_path:
                if finder is self or not hasattr(finder, "find_spec"):
                    continue
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _Loader(spec.loader, self._ran)
                    return spec
            return None
        finally:
            self._asking.discard(name)


class _Loader:
    """A module's own loader; nobody finds this one in the module."""

    def __init__(self, loader: "Any", ran: "Callable[[Any], None]") -> None:
        self._loader = loader
        self._ran = ran

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "Any") -> "Any":
        return self._loader.create_module(spec)

    def exec_module(self, module: "Any") -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            self._ran(module)
        except Exception as error:
            # The program's import goes on.
            _complain(f"{module.__name__} is left as it is: {type(error).__name__}: {error}")


def _ran(module: "Any") -> None:
    from dsadapter.launcher.patching import module_ran

    module_ran(module)


def _audit(event: str, arguments: "Any", _starts: "frozenset[str]" = _STARTS) -> None:
    if event in _starts:
        try:
            from dsadapter.launcher.children import say_if_uncovered

            say_if_uncovered(event, arguments)
        except Exception as error:
            _complain(f"a child process was not looked at: {type(error).__name__}: {error}")


def _complain(text: str) -> None:
    try:  # noqa: SIM105 (contextlib would be an import)
        sys.stderr.write(f"dsadapter run: {text}\n")
    except Exception:
        pass


def _start() -> None:
    watcher = Watcher({"socket"}, _ran)
    sys.meta_path.insert(0, watcher)
    sys.addaudithook(_audit)
    if "socket" in sys.modules:
        # A .pth file has imported it.
        _ran(sys.modules["socket"])


def _run_the_other() -> None:
    """Run the ``sitecustomize`` that is next on the path, in place of this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [folder for folder in sys.path if folder != here]
    for finder in sys.meta_path:
        if getattr(finder, "__name__", "") == "PathFinder":
            spec = finder.find_spec("sitecustomize", others)
            break
    else:
        return
    if spec is None or spec.loader is None:
        return
    module: Any = type(sys)("sitecustomize")
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__file__ = spec.origin
    module.__cached__ = spec.cached
    module.__package__ = ""
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _told() -> int:
    """The process that the command is, or was before it became this one."""
    return os.getppid() if os.name == "nt" else os.getpid()


# Not where install() imports it for its finder.
if __name__ == "sitecustomize":
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    # A way to an environment may have a link in it.
    prefix = os.path.normcase(os.path.realpath(sys.prefix))
    if os.environ.get("DSADAPTER_RUN") == f"{version} {prefix}":
        try:
            _start()
        except Exception as error:
            _complain(f"this process is not covered: {type(error).__name__}: {error}")
    elif f"process={_told()}" in os.environ.get("DSADAPTER_RUN_OPTIONS", "").split():
        _complain(
            f"this process runs by Python {version} of {sys.prefix}, and is not covered; type: "
            f"{sys.executable} -m pip install dsadapter, and start it by the dsadapter of that one"
        )
    _run_the_other()
