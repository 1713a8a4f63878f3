"""How long an instance takes from RunInstances until its console says that cloud-init has finished, one after the other,
on a cloud that speaks the EC2 API and gives console output at once; here the local cloud. Goal: 5 s.

    boot.py EUCARC [RUNS]

Prints a line for bench/RESULTS.md. Needs boto3 (`make test` puts it into target/venv).
"""

import re
import statistics
import sys
import time

import eucarc

LIMIT_SECS = 120
FINISHED = re.compile(r"Cloud-init v\. \S+ finished")


def boot(ec2, image):
    begun = time.perf_counter()
    instance = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    try:
        while time.perf_counter() - begun < LIMIT_SECS:
            # boto3 has undone the base64.
            output = ec2.get_console_output(InstanceId=instance).get("Output") or ""
            if FINISHED.search(output):
                return time.perf_counter() - begun
            time.sleep(0.05)
        sys.exit(f"cloud-init of {instance} has not finished within {LIMIT_SECS} s")
    finally:
        ec2.terminate_instances(InstanceIds=[instance])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})


def main():
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ec2 = eucarc.client(eucarc.read(sys.argv[1]), "ec2", "EC2_URL")
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    took = sorted(boot(ec2, image) for _ in range(runs))
    every = ", ".join(f"{seconds:.1f}" for seconds in took)
    print(f"RunInstances until cloud-init has finished: median {statistics.median(took):.1f} s ({every})")


main()
