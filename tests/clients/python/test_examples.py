"""The programs of llms-full.txt, as they are printed there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

DEMO = json.loads(Path(os.environ["ASSISTIV_DEMO"]).read_text())
ROOT = DEMO["api_url"].removesuffix("/v1")
TEXT = httpx.get(f"{ROOT}/llms-full.txt", timeout=20).text
PROGRAMS = re.findall(r"^## Example: (.*?), (\w+)\n\n```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)
RUN = {
    "bash": ["bash", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": [os.environ["ASSISTIV_NODE"], "--input-type=module", "-e"],
}


def test_every_group_has_three() -> None:
    groups = {group for group, *_ in PROGRAMS}
    assert len(groups) >= 13
    assert len(PROGRAMS) == 3 * len(groups)


@pytest.mark.parametrize(
    ("fence", "program"),
    [pytest.param(fence, program, id=f"{group}-{name}") for group, name, fence, program in PROGRAMS],
)
def test_program_runs(fence: str, program: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "NO_PROXY": "127.0.0.1",
        "PLATFORM_ID": DEMO["platform_id"],
        "PLATFORM_KEY": DEMO["platform_key"],
        "END_USER_ID": DEMO["end_user_id"],
        "END_USER_KEY": DEMO["end_user_key"],
        "OPERATOR_KEY": DEMO["operator_key"],
    }
    done = subprocess.run(
        [*RUN[fence], program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
