"""Which processes of a farm run under a profiler; `farm.profiled` is what they run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from farm.errors import BadRequest
from farm.restart import ChildSpec, Incarnation

ROLES = ("broker", "audio", "inference", "compositor")


@dataclass(frozen=True, slots=True)
class Profiling:
    """Whose time is wanted in detail, and where it is written."""

    roles: frozenset[str]
    directory: Path

    @classmethod
    def of(cls, roles: Sequence[str], directory: Path) -> "Profiling":
        """Makes the directory, if anybody is profiled.  Raises BadRequest."""
        for role in roles:
            if role not in ROLES:
                raise BadRequest(
                    f"--profile {role}: must be {', '.join(ROLES[:-1])} or {ROLES[-1]}"
                )
        try:
            if roles:
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadRequest(f"--profile-dir {directory}: {error.strerror}") from error
        return cls(frozenset(roles), directory.absolute())

    def over(self, spec: ChildSpec) -> ChildSpec:
        """The same child; under a profiler, if its role is wanted."""
        if spec.role not in self.roles:
            return spec

        def command(incarnation: Incarnation) -> list[str]:
            words = spec.command(incarnation)
            module_at = words.index("-m") + 1
            ours = ["farm.profiled", str(self.directory), spec.name]
            return [*words[:module_at], *ours, *words[module_at:]]

        return replace(spec, command=command)


NO_PROFILING = Profiling(frozenset(), Path())
