"""The local cloud's API beside moto_server: the same boto3 client, the same calls, one run.

    beside-moto.py FAKE_CLOUD_PROGRAM MOTO_SERVER_PROGRAM

Prints a table for bench/RESULTS.md. `call` is what a user of boto3 waits for, `answer` the part of it from the request's
first byte to the answer's last one: the rest is boto3 itself, signing and parsing.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import botocore.config
import botocore.httpsession
import eucarc

INSTANCES, GROUPS, REPEATS = 1000, 100, 9
KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "moto-checks-no-signature"}

waited = 0.0
send = botocore.httpsession.URLLib3Session.send


def timed_send(self, request):
    global waited
    start = time.perf_counter()
    response = send(self, request)
    _ = response.content
    waited += time.perf_counter() - start
    return response


botocore.httpsession.URLLib3Session.send = timed_send


class Server:
    """One of the two, with its clients and its process."""

    def __init__(self, name, command, port, keys, paths):
        self.name, self.port = name, port
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_until_it_answers()
        self.start_secs = time.perf_counter() - start
        keys = keys()
        config = botocore.config.Config(retries={"max_attempts": 0}, read_timeout=600, parameter_validation=False)
        base = f"http://127.0.0.1:{port}"
        self.client = lambda service: boto3.client(
            service, endpoint_url=base + paths.get(service, ""), region_name="us-east-1", config=config, **keys
        )
        self.ec2, self.autoscaling = self.client("ec2"), self.client("autoscaling")

    def wait_until_it_answers(self):
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1)
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{self.name} has ended")
                time.sleep(0.005)

    def status(self, field):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0

    def cpu_secs(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def measure(call, repeats=REPEATS):
    """Medians of the whole call and of the server's part."""
    global waited
    calls, answers = [], []
    for _ in range(repeats):
        waited, start = 0.0, time.perf_counter()
        call()
        calls.append(time.perf_counter() - start)
        answers.append(waited)
    return statistics.median(calls), statistics.median(answers)


def load(server):
    """Figures of one server: name of the row → (call, answer) in seconds."""
    figures = {}
    image = server.ec2.describe_images()["Images"][0]["ImageId"]
    one = lambda count=1: server.ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=count, MaxCount=count)
    batch = 50
    figures[f"RunInstances, {batch} at once"] = measure(lambda: one(batch), INSTANCES // batch)
    server.autoscaling.create_launch_configuration(
        LaunchConfigurationName="bench", ImageId=image, InstanceType="t3.micro"
    )
    zone = server.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    names = iter(range(GROUPS))
    figures["CreateAutoScalingGroup"] = measure(
        lambda: server.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=f"group-{next(names):03}",
            LaunchConfigurationName="bench",
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=0,
            AvailabilityZones=[zone],
            Tags=[{"Key": "bench", "Value": "yes", "PropagateAtLaunch": True}],
        ),
        GROUPS,
    )
    figures["RunInstances, 1 more"] = measure(one)

    def describe_all():
        found = 0
        for page in server.ec2.get_paginator("describe_instances").paginate():
            found += sum(len(reservation["Instances"]) for reservation in page["Reservations"])
        assert found >= INSTANCES, found

    figures["DescribeInstances, all 1,000"] = measure(describe_all)
    some = [i["InstanceId"] for r in server.ec2.describe_instances()["Reservations"] for i in r["Instances"]][:1]
    figures["DescribeInstances, one by id"] = measure(lambda: server.ec2.describe_instances(InstanceIds=some))

    def describe_groups():
        found = 0
        for page in server.autoscaling.get_paginator("describe_auto_scaling_groups").paginate():
            found += len(page["AutoScalingGroups"])
        assert found == GROUPS, found

    figures["DescribeAutoScalingGroups, all 100"] = measure(describe_groups)
    # What any answer takes, the client's own share of it included.
    figures["DescribeAvailabilityZones, the least there is"] = measure(server.ec2.describe_availability_zones)
    return figures


def local_keys(state_dir):
    return eucarc.keys(eucarc.read(pathlib.Path(state_dir, "eucarc")))


def main():
    fake_cloud, moto_server = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="beside-moto.") as state_dir:
        paths = {"ec2": "/services/compute", "autoscaling": "/services/AutoScaling"}
        command = [fake_cloud, "--port", "18774", "--state-dir", state_dir, "--instance-limit", str(2 * INSTANCES)]
        local = Server("localcloud", command, 18774, lambda: local_keys(state_dir), paths)
        moto = Server("moto_server", [moto_server, "-H", "127.0.0.1", "-p", "18775"], 18775, lambda: KEYS, {})
        try:
            ours, theirs = load(local), load(moto)
            print("| what | localcloud, ms | moto_server, ms | ratio of answers | ratio of whole calls |")
            print("| --- | --- | --- | --- | --- |")
            for row, (call, answer) in ours.items():
                moto_call, moto_answer = theirs[row]
                print(
                    f"| {row} | {answer * 1e3:.1f} (call {call * 1e3:.1f}) | {moto_answer * 1e3:.1f} (call {moto_call * 1e3:.1f})"
                    f" | {moto_answer / answer:.0f} × | {moto_call / call:.1f} × |"
                )
            resident = [server.status("VmRSS") / 1024 for server in (local, moto)]
            print(f"| memory (RSS) | {resident[0]:.0f} MiB | {resident[1]:.0f} MiB | {resident[0] / resident[1]:.2f} | |")
            idle_secs, before = 20, [server.cpu_secs() for server in (local, moto)]
            time.sleep(idle_secs)
            idle = [(server.cpu_secs() - was) / idle_secs * 100 for server, was in zip((local, moto), before)]
            print(f"| idle, of a core | {idle[0]:.2f} % | {idle[1]:.2f} % | | |")
            print(f"| start until it answers | {local.start_secs * 1e3:.0f} ms | {moto.start_secs * 1e3:.0f} ms | | |")
        finally:
            local.stop()
            moto.stop()


main()
