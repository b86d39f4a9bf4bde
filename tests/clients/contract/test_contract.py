"""What Schemathesis makes of the OpenAPI document: no answer of the demo may be a fault, or none that is documented."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = json.loads(Path(os.environ["ASSISTIV_DEMO"]).read_text())
ROOT = DEMO["api_url"].removesuffix("/v1")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# These would take away what all other operations need. Those on provider keys are called by themselves, at the end.
LEFT_OUT = (
    "admin_delete_platform admin_update_platform delete_platform update_platform delete_end_user update_end_user "
    "delete_api_key update_api_key delete_end_user_api_key rotate_end_user_api_keys"
).split()
OF_PROVIDER_KEYS = "create_llm_config update_llm_config delete_llm_config replace_model_routes".split()


def call_everything(key: str, folder: Path, *which: str) -> None:
    config = folder / "schemathesis.toml"
    config.write_text(
        "[parameters]\n"
        f'"path.platform_id" = "{DEMO["platform_id"]}"\n'
        f'"path.end_user_id" = "{DEMO["end_user_id"]}"\n'
    )
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(config),
        "run",
        f"{ROOT}/v1/openapi.json",
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=8",
        "--seed=1",
        f"--header=Authorization: Bearer {DEMO[key]}",
        *which,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


@pytest.mark.parametrize("key", ["operator_key", "end_user_key", "platform_key"])
def test_answers_are_as_documented(key: str, tmp_path: Path) -> None:
    left_out = (f"--exclude-operation-id={name}" for name in LEFT_OUT + OF_PROVIDER_KEYS)
    call_everything(key, tmp_path, *left_out)


def test_answers_on_provider_keys_are_as_documented(tmp_path: Path) -> None:
    only = (f"--include-operation-id={name}" for name in OF_PROVIDER_KEYS)
    call_everything("platform_key", tmp_path, *only)
