"""`up` beside its floor: one database VM and one web VM, launched by hand in parallel with the very user-data of `up`, on
the local cloud's real containers, in one run. What else they need (bucket, groups, roles, load balancer, an empty volume)
is there already and costs the floor nothing.

    target/venv/bin/python bench/floor.py [RUNS] [DIRECTORY OF THE PROGRAMS]

Prints a table for bench/RESULTS.md: seconds until the first 200 through the load balancer, for `up` from an empty cloud
that runs, and for the two VMs; and until `up` has ended, which is when every web server answers. Needs root, built programs
and a built image. Goals, on 2 cores: 15 s, and 1.2 × the floor.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

from real_cloud import PORT, STACK, Bench

LIMIT_SECS = 300


def first_200(begun, ended=lambda: False):
    """Seconds until the gallery answers 200; none if it never does."""
    while time.perf_counter() - begun < LIMIT_SECS and not ended():
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/imagecrud/", timeout=2) as answer:
                if answer.status == 200:
                    return time.perf_counter() - begun
        time.sleep(0.02)
    return None


def until(condition):
    begun = time.perf_counter()
    while not condition():
        if time.perf_counter() - begun > LIMIT_SECS:
            sys.exit("what was waited for has not come")
        time.sleep(0.02)


def up(bench):
    """Until the first 200, and until its end."""
    found = []
    begun = time.perf_counter()
    watcher = threading.Thread(target=lambda: found.append(first_200(begun)))
    watcher.start()
    took, _ = bench.deploy("up")
    watcher.join()
    return found[0], took


def by_hand(bench, facts):
    """Takes the VMs of the stack away, and launches two of the kind by hand."""
    ec2, elb, groups, s3 = (bench.client(name) for name in ("ec2", "elb", "autoscaling", "s3"))
    instances = lambda: [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    alive = lambda: [i for i in instances() if i["State"]["Name"] != "terminated"]
    group_id = lambda name: next(
        g["GroupId"] for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] == f"{STACK}-{name}"
    )
    database = next(i for i in alive() if "Placement" in i)
    zone, subnet, image = database["Placement"]["AvailabilityZone"], database["SubnetId"], database["ImageId"]
    groups.delete_auto_scaling_group(AutoScalingGroupName=f"{STACK}-web", ForceDelete=True)
    ec2.terminate_instances(InstanceIds=[i["InstanceId"] for i in alive()])
    until(lambda: not alive())
    until(lambda: not elb.describe_load_balancers(LoadBalancerNames=[STACK])["LoadBalancerDescriptions"][0]["Instances"])
    s3.delete_object(Bucket=facts["bucket"], Key="config/database.json")
    volume = ec2.create_volume(AvailabilityZone=zone, Size=10)["VolumeId"]
    until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available")

    def launch(kind, user_data):
        launched = ec2.run_instances(
            ImageId=image,
            InstanceType=facts[f"{kind}_type"],
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet,
            KeyName=f"{STACK}-ssh",
            SecurityGroupIds=[group_id(kind)],
            IamInstanceProfile={"Name": f"{STACK}-{facts['region']}-{kind}"},
            UserData=user_data,
        )
        return launched["Instances"][0]["InstanceId"]

    def launch_database():
        user_data = pathlib.Path(facts["database_user_data"]).read_text().replace(facts["former_volume_id"], volume)
        vm = launch("database", user_data)
        state = lambda: ec2.describe_instances(InstanceIds=[vm])["Reservations"][0]["Instances"][0]["State"]["Name"]
        until(lambda: state() == "running")
        ec2.attach_volume(VolumeId=volume, InstanceId=vm, Device="/dev/vdf")

    def launch_web():
        vm = launch("web", pathlib.Path(facts["web_user_data"]).read_text())
        elb.register_instances_with_load_balancer(LoadBalancerName=STACK, Instances=[{"InstanceId": vm}])

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        vms = [pool.submit(launch_database), pool.submit(launch_web)]
        took = first_200(begun)
        for vm in vms:
            vm.result()
    if took is None:
        sys.exit("the gallery of the two VMs never answered 200")
    return took


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    programs = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parent.parent / "bin").resolve()
    firsts, ends, floors = [], [], []
    with tempfile.TemporaryDirectory(prefix="floor.") as work:
        bench = Bench(programs, pathlib.Path(work))
        try:
            for run in range(runs):
                bench.empty_cloud()
                first, end = up(bench)
                floor = by_hand(bench, bench.facts())
                for figures, figure in ((firsts, first), (ends, end), (floors, floor)):
                    figures.append(figure)
                print(f"{run + 1}: up {first:.2f} s, ended {end:.2f} s; by hand {floor:.2f} s", file=sys.stderr)
        finally:
            bench.end()
    median = statistics.median
    cell = lambda figures: f"{median(figures):.2f} s ({min(figures):.2f}–{max(figures):.2f})"
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {runs} runs in turn")
    print("| what | median (min–max) | of the floor (goal 1.2) |")
    print("| --- | --- | --- |")
    print(f"| one database VM and one web VM by hand, in parallel, until the first 200 | {cell(floors)} | 1 |")
    print(f"| `up` from nothing until the first 200 | {cell(firsts)} | {median(firsts) / median(floors):.2f} |")
    print(f"| `up` from nothing until every web server answers | {cell(ends)} | {median(ends) / median(floors):.2f} |")


main()
