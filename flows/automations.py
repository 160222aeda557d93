"""Automations on a Prefect server: ``python -m flows.automations --webhook-from THAWLINE_WEBHOOK``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from pydantic import SecretStr, ValidationError
from ruamel.yaml import YAML

from flows.commands import one_sentence
from flows.server import explained, require_server
from tasks.errors import UserError

FOLDER = Path("deploy")
BLOCK = "thawline"


def read(path: Path, **filled_in: str) -> list[AutomationCore]:
    """Return the automations of a file in the form of ``prefect automation create``.

    Args:
        path: the YAML file.
        filled_in: fields that every ``call-webhook`` action gets.

    Raises:
        UserError: the file is not there, or Prefect doesn't understand an automation.
    """
    if not path.is_file():
        raise UserError(f"there is no {path}: run this at the root of the repository")
    content: dict[str, Any] = YAML(typ="safe").load(path)
    for automation in content["automations"]:
        for action in automation["actions"]:
            if action["type"] == "call-webhook":
                action.update(filled_in)
    try:
        return [AutomationCore.model_validate(automation) for automation in content["automations"]]
    except ValidationError as error:
        raise UserError(f"{path}: Prefect doesn't understand an automation: {error.errors()[0]['msg']}") from error


def save(automations: list[AutomationCore]) -> list[tuple[str, str]]:
    """Create automations, or bring those with their names up to date; return name and ``created`` or ``updated``.

    An automation that was switched off on the server stays off.
    """
    done = []
    with get_client(sync_client=True) as client:
        for automation in automations:
            known = client.read_automations_by_name(automation.name)
            if known:
                kept = automation.model_copy(update={"enabled": known[0].enabled})
                client.update_automation(known[0].id, kept)
            else:
                client.create_automation(automation)
            done.append((automation.name, "updated" if known else "created"))
    return done


def save_webhook(variable: str) -> str:
    """Keep the address that an environment variable holds as Prefect's block ``webhook/thawline``; return its id.

    Raises:
        UserError: the variable doesn't hold an address.
    """
    address = os.environ.get(variable, "")
    if not address.startswith(("http://", "https://")):
        raise UserError(f"the environment variable {variable} holds no http address: set it to that of the webhook")
    headers: Any = {"Content-Type": "application/json"}
    block = Webhook(url=SecretStr(address), headers=headers)
    saved: Any = block.save(BLOCK, overwrite=True)
    return str(saved)


def main(
    webhook_from: Annotated[
        str, typer.Option(help="Environment variable with the address that is told of champions and failures.")
    ] = "",
) -> None:
    """Create or update the automations of deploy/ on the Prefect server."""
    with one_sentence():
        require_server("an automation")
        with explained():
            wanted = read(FOLDER / "automations.yaml")
            if webhook_from:
                wanted += read(FOLDER / "webhook.yaml", block_document_id=save_webhook(webhook_from))
            done = save(wanted)
    for name, what in done:
        typer.echo(f"thawline: {what} the automation '{name}'")


if __name__ == "__main__":
    typer.run(main)
