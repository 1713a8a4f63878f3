"""`imagecrud-deploy up` beside an Ansible playbook that makes the same resources: against the same local cloud, its real
containers included, in one run, from an empty cloud until the gallery answers 200; and both once more with nothing to do.

    scripts/python-tools.sh ansible
    target/ansible-venv/bin/python bench/beside-ansible.py [--fake] [RUNS] [DIRECTORY OF THE PROGRAMS]

With --fake on the local cloud's fake drivers, where machines take no time, so that only the making of the resources does.
Prints a table for bench/RESULTS.md: medians with minimum and maximum, and the peak of the resident memory of all processes
of a command. Needs root, built programs and a built image. Goal: 5 × as fast, both times.
"""

import json
import pathlib
import statistics
import sys
import tempfile

from real_cloud import Bench, FakeBench

HERE = pathlib.Path(__file__).resolve().parent


def playbook(bench):
    environment = {**bench.aws_environment(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false"}
    venv = pathlib.Path(sys.executable).parent
    arguments = ["-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", "-e", f"@{bench.work}/facts.json"]
    return bench.run(venv / "ansible-playbook", *arguments, HERE / "ansible" / "site.yaml", environment=environment)


def main():
    fake = "--fake" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--fake"]
    runs = int(arguments[0]) if arguments else 3
    programs = pathlib.Path(arguments[1] if len(arguments) > 1 else HERE.parent / "bin").resolve()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="beside-ansible.") as work:
        bench = (FakeBench if fake else Bench)(programs, pathlib.Path(work))
        try:
            bench.empty_cloud()
            bench.deploy("up")
            facts = bench.facts()
            for run in range(runs):
                for name, command in (("up", lambda: bench.deploy("up")), ("Ansible", lambda: playbook(bench))):
                    bench.empty_cloud()
                    here = {"listener_port": bench.port, "binary": str(bench.binary)}
                    pathlib.Path(work, "facts.json").write_text(json.dumps({**facts, **here}))
                    for which in ("first run", "nothing to do"):
                        took, peak = command()
                        figures.setdefault((name, which), []).append((took, peak))
                        print(f"{run + 1}: {name}, {which}: {took:.2f} s, {peak:.0f} MiB", file=sys.stderr)
        finally:
            bench.end()
    print("| what | `up` | Ansible | ratio (goal 5) | memory of `up` | of Ansible |")
    print("| --- | --- | --- | --- | --- | --- |")
    for which in ("first run", "nothing to do"):
        times = {name: [took for took, _ in figures[name, which]] for name in ("up", "Ansible")}
        peaks = {name: max(peak for _, peak in figures[name, which]) for name in ("up", "Ansible")}
        middle = {name: statistics.median(of) for name, of in times.items()}
        cell = {name: f"{middle[name]:.2f} s ({min(of):.2f}–{max(of):.2f})" for name, of in times.items()}
        print(
            f"| {which} | {cell['up']} | {cell['Ansible']} | {middle['Ansible'] / middle['up']:.1f} × "
            f"| {peaks['up']:.0f} MiB | {peaks['Ansible']:.0f} MiB |"
        )


main()
