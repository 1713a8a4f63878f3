"""Records what the README shows: `up` from nothing, `status --watch` while the group grows, and an `up` that fails and goes
back by itself; real runs on a local cloud of their own, which is removed again. Writes NAME.cast and NAME.svg beside this
file. Needs root, built programs and the VM image (`make build image`), and `scripts/python-tools.sh casts`.

    target/casts-venv/bin/python docs/casts/record.py [PROGRAMS]      # default: bin
    target/casts-venv/bin/python docs/casts/record.py --draw          # the SVGs only, of the casts that there are
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import terminal

HERE = pathlib.Path(__file__).resolve().parent
PORT, CLOUD_PORT = os.environ.get("CAST_PORT", "8080"), os.environ.get("LOCALCLOUD_PORT", "18786")
MOST_BYTES = 100_000
BROKEN = "#!/bin/sh\nsleep 1\necho 'the new version cannot find its feet' >&2\nexit 1\n"


def draw(name):
    svg = terminal.draw((HERE / f"{name}.cast").read_text())
    (HERE / f"{name}.svg").write_text(svg)
    for made in (f"{name}.cast", f"{name}.svg"):
        size = (HERE / made).stat().st_size
        print(f"{made}: {size} bytes", file=sys.stderr)
        if size > MOST_BYTES:
            sys.exit(f"{made} is larger than {MOST_BYTES} bytes")


def main():
    if sys.argv[1:] == ["--draw"]:
        for cast in sorted(HERE.glob("*.cast")):
            draw(cast.stem)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # the cloud is removed then too
    programs = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "bin").resolve()
    with tempfile.TemporaryDirectory(prefix="imagecrud-casts.") as work:
        work = pathlib.Path(work)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("IMAGECRUD_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LOCALCLOUD_STATE_DIR": str(work / "cloud"),
            "LOCALCLOUD_PORT": CLOUD_PORT,
            "LOCALCLOUD_PUBLIC_SUBNET": os.environ.get("LOCALCLOUD_PUBLIC_SUBNET", "127.86"),
        }
        environment.pop("NO_COLOR", None)
        (work / "imagecrud.toml").write_text(f"[listener]\nport = {PORT}\n")
        (work / "broken").write_text(BROKEN)
        (work / "broken").chmod(0o755)

        def keep(name, arguments, **options):
            shown = " ".join(["imagecrud-deploy", *arguments])
            command = [programs / "imagecrud-deploy", *arguments]
            cast = terminal.record(command, shown, environment, work, **options)
            if str(work) in cast:
                sys.exit(f"{name}: the cast names a directory of this machine")
            (HERE / f"{name}.cast").write_text(cast)
            draw(name)

        def run(*command):
            subprocess.run(command, env=environment, cwd=work, check=True, capture_output=True)

        try:
            run("localcloud", "serve", "--detach")
            keep("up", ["up"])
            growing = subprocess.Popen(
                ["sh", "-c", "sleep 3; exec imagecrud-deploy -q scale 3"], env=environment, cwd=work, stdout=subprocess.DEVNULL
            )
            keep("status-watch", ["status", "--watch"], columns=160, enough="3/3 in service")
            growing.wait()
            keep("failed-up", ["up", "--bundle", "broken"], columns=120)
        finally:
            subprocess.run(["localcloud", "reset", "--yes"], env=environment, cwd=work, capture_output=True)


main()
