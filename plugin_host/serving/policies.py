"""A plugin's failure policies, ready to be applied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ..abi.edit_values import URLS, check_url, header_name, header_value
from ..config import did_you_mean
from ..errors import BadResult, ManifestError
from ..manifest import Manifest, Respond
from ..message import BODILESS, SET_HEADER, Answer


class Policy(NamedTuple):
    """What happens when one hook fails.

    :param word: what the log says: ``skip``, ``fail``, ``respond`` or ``answer``.
    :param response: of an HTTP hook with ``respond``.
    :param answer: of a business hook with ``answer``: JSON.
    """

    word: str
    response: Answer | None = None
    answer: bytes | None = None


def policies(path: Path, manifest: Manifest, hooks: Collection[str]) -> Mapping[str, Policy]:
    """Return the policy of each hook; a fixed response is held to what a guest's answer is.

    :param path: the file that errors name.
    :raises ManifestError: a response breaks a rule; or a policy is of a hook that is not there,
        whose name may be that of another one, misspelled.
    """
    if isinstance(manifest.on_failure, Mapping):
        for hook in manifest.on_failure.keys() - set(hooks):
            remedy = did_you_mean(hook, hooks) or f"the plugin's hooks are {', '.join(hooks)}"
            raise ManifestError(path, f"on_failure.{hook}: the plugin has no such hook", remedy)
    ready = {}
    for hook in hooks:
        policy = manifest.failure_policy(hook)
        response = None
        if policy.response is not None:
            response = _checked(path, f"on_failure.{hook}.respond", policy.response)
        ready[hook] = Policy(policy.word, response, policy.answer)
    return ready


def _checked(path: Path, key: str, respond: Respond) -> Answer:
    if respond.status in BODILESS and respond.body:
        rule = f"a body does not go with status {respond.status}"
        raise ManifestError(path, f"{key}: {rule}", "leave the body out, or change the status")
    return Answer(
        respond.status,
        tuple(_header(path, key, name, value) for name, value in respond.headers),
        respond.body,
    )


def _header(path: Path, key: str, name: str, value: str) -> tuple[str, str]:
    try:
        _, lower, _ = header_name(name.encode(), 0)
        text = header_value(SET_HEADER, value.encode(), 0, 0)
        if lower in URLS:
            check_url(text, 0)
        return name, text
    except BadResult as exc:
        raise ManifestError(path, f"{key}.headers.{name}: {exc.rule}", "correct it") from exc
