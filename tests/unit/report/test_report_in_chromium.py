"""The page in a real browser: hostile text stays text, nothing is requested, and both colour schemes draw."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from miliary_seg.report import write_case

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]


def chromium(tmp_path, *options):
    call = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
    ]
    return subprocess.run(call, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture
def asked():
    """A server on this machine that notes every request."""
    requests: list[str] = []

    class Notes(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], requests
    server.shutdown()
    server.server_close()


def test_hostile_text_runs_nothing_and_asks_for_nothing(tmp_path, make_case, asked):
    port, requests = asked
    image = f"<img src=http://127.0.0.1:{port}/x onerror=\"document.title='RUN'\">"
    text = f"</title></style><script>document.title='RUN'</script>\"'>{image}<svg/onload=\"document.title='RUN'\">"
    folder = write_case(make_case(text=text, case=text, series_id=text), tmp_path / "out", False)
    done = chromium(tmp_path, "--enable-logging=stderr", "--dump-dom", f"file://{folder / 'report.html'}")
    title = done.stdout.split("<title>")[1].split("</title>")[0]
    assert title != "RUN"
    assert "&lt;script&gt;" in title
    assert requests == []
    assert "CONSOLE" not in done.stderr


@pytest.mark.parametrize(("scheme", "bright"), [(1, True), (0, False)])
def test_both_colour_schemes(tmp_path, case, scheme, bright):
    folder = write_case(case, tmp_path / "out", False)
    shot = tmp_path / "shot.png"
    setting = f"--blink-settings=preferredColorScheme={scheme}"
    chromium(tmp_path, "--window-size=1280,3200", setting, f"--screenshot={shot}", f"file://{folder / 'report.html'}")
    picture = np.asarray(Image.open(shot).convert("L"), dtype=float)
    assert bool(picture[:200, :40].mean() > 128) is bright
    assert (picture[1000:2600] == 0).mean() > 0.05  # the slices are drawn on black
