"""One load run scales a group out and in again, on a cloud that speaks the EC2 APIs; here the local cloud.

    load-run.py [--eucarc FILE] [--port 8088] [--load-secs 40] [--clients 8] [--keep]

It makes a load balancer, a launch template, a group of one web server (at most three), two scaling policies and their
alarms with periods of 10 s; sends requests; prints a line a second; waits until the group is small again; and removes all
of it. Figures go to standard output, progress to standard error. Exit code 1 if a request failed or a step took too long.
Needs boto3 (`make test` puts it into target/venv).
"""

import argparse
import base64
import collections
import datetime
import http.client
import json
import sys
import threading
import time

import botocore.config
import botocore.exceptions
import eucarc

NAME, INSTANCE_PORT = "load-run", 8000
LIMIT_SECS = 240

# A web server that spends some 10 ms of CPU on each request, and says which instance it is.
USER_DATA = f"""#!/bin/bash
cat >/usr/local/bin/web <<'PYTHON'
import hashlib, http.server, socket

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/healthz":
            hashlib.pbkdf2_hmac("sha256", b"work", b"salt", 10_000)
        body = socket.gethostname().encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", {INSTANCE_PORT}), Handler).serve_forever()
PYTHON
systemd-run --unit web python3 /usr/local/bin/web
"""


class Cloud:
    def __init__(self, path, port):
        self.port = port
        variables = eucarc.read(path)
        # The daemon may be killed meanwhile: its API is back within a second or two.
        config = botocore.config.Config(retries={"max_attempts": 12, "mode": "standard"})
        client = lambda service, url: eucarc.client(variables, service, url, config=config)
        self.ec2, self.elb = client("ec2", "EC2_URL"), client("elb", "AWS_ELB_URL")
        self.autoscaling = client("autoscaling", "AWS_AUTO_SCALING_URL")
        self.cloudwatch = client("cloudwatch", "AWS_CLOUDWATCH_URL")

    def build(self):
        """Returns the load balancer's name in the DNS."""
        zone = self.ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
        image = self.ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
        group = self.ec2.create_security_group(GroupName=NAME, Description="web servers of a load run")["GroupId"]
        world = [{"CidrIp": "0.0.0.0/0"}]
        rule = {"IpProtocol": "tcp", "FromPort": INSTANCE_PORT, "ToPort": INSTANCE_PORT, "IpRanges": world}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        listener = {"Protocol": "HTTP", "LoadBalancerPort": self.port, "InstancePort": INSTANCE_PORT}
        dns_name = self.elb.create_load_balancer(LoadBalancerName=NAME, Listeners=[listener], AvailabilityZones=[zone])["DNSName"]
        check = {"Target": f"HTTP:{INSTANCE_PORT}/healthz", "Interval": 5, "Timeout": 2, "HealthyThreshold": 2, "UnhealthyThreshold": 2}
        self.elb.configure_health_check(LoadBalancerName=NAME, HealthCheck=check)
        attributes = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
        self.elb.modify_load_balancer_attributes(LoadBalancerName=NAME, LoadBalancerAttributes=attributes)
        user_data = base64.b64encode(USER_DATA.encode()).decode()
        data = {"ImageId": image, "InstanceType": "m1.small", "SecurityGroupIds": [group], "UserData": user_data}
        self.ec2.create_launch_template(LaunchTemplateName=NAME, LaunchTemplateData=data)
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            LaunchTemplate={"LaunchTemplateName": NAME, "Version": "$Latest"},
            MinSize=1,
            MaxSize=2,
            AvailabilityZones=[zone],
            LoadBalancerNames=[NAME],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=60,
        )
        for name, change, operator, threshold, periods in [
            ("out", 1, "GreaterThanThreshold", 25, 1),
            ("in", -1, "LessThanThreshold", 15, 2),
        ]:
            policy = self.autoscaling.put_scaling_policy(
                AutoScalingGroupName=NAME,
                PolicyName=name,
                AdjustmentType="ChangeInCapacity",
                ScalingAdjustment=change,
                Cooldown=15,
            )
            self.cloudwatch.put_metric_alarm(
                AlarmName=f"{NAME}-{name}",
                Namespace="AWS/EC2",
                MetricName="CPUUtilization",
                Dimensions=[{"Name": "AutoScalingGroupName", "Value": NAME}],
                Statistic="Average",
                Period=10,
                EvaluationPeriods=periods,
                Threshold=threshold,
                ComparisonOperator=operator,
                AlarmActions=[policy["PolicyARN"]],
            )
        return dns_name

    def in_service(self):
        try:
            states = self.elb.describe_instance_health(LoadBalancerName=NAME)["InstanceStates"]
        except botocore.exceptions.ClientError:
            return 0
        return sum(state["State"] == "InService" for state in states)

    def members(self):
        groups = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"]
        return [instance["LifecycleState"] for group in groups for instance in group["Instances"]]

    def alarms(self):
        alarms = self.cloudwatch.describe_alarms(AlarmNamePrefix=NAME)["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{NAME}-"): alarm["StateValue"] for alarm in alarms}

    def cpu_percent(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        points = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Dimensions=[{"Name": "AutoScalingGroupName", "Value": NAME}],
            StartTime=now - datetime.timedelta(seconds=30),
            EndTime=now,
            Period=10,
            Statistics=["Average"],
        )["Datapoints"]
        return max(points, key=lambda point: point["Timestamp"])["Average"] if points else None

    def causes(self):
        activities = self.autoscaling.describe_scaling_activities(AutoScalingGroupName=NAME)["Activities"]
        return [activity["Cause"] for activity in reversed(activities)]

    def remove(self):
        """Removes whatever of it there is."""

        def attempt(call, **parameters):
            try:
                return call(**parameters)
            except botocore.exceptions.ClientError as error:
                return error

        attempt(self.cloudwatch.delete_alarms, AlarmNames=[f"{NAME}-out", f"{NAME}-in"])
        attempt(self.autoscaling.delete_auto_scaling_group, AutoScalingGroupName=NAME, ForceDelete=True)
        attempt(self.elb.delete_load_balancer, LoadBalancerName=NAME)
        wait_until("the group is gone", lambda: not self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"])
        attempt(self.ec2.delete_launch_template, LaunchTemplateName=NAME)
        gone = lambda: "DependencyViolation" not in str(attempt(self.ec2.delete_security_group, GroupName=NAME))
        wait_until("the security group is gone", gone)


class Load:
    """Closed-loop clients; each keeps its connection."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.done, self.failures = collections.Counter(), []
        self.servers, self.stopped, self.pause_secs = collections.Counter(), False, 0.25
        self.threads = []

    def clients(self, count):
        for _ in range(count - len(self.threads)):
            thread = threading.Thread(target=self.run, args=(len(self.threads),), daemon=True)
            self.threads.append(thread)
            thread.start()

    def run(self, number):
        connection = None
        while not self.stopped:
            try:
                # Names ending in .localhost are this machine (RFC 6761); not every resolver knows it.
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", "/", headers={"host": self.host})
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    raise http.client.HTTPException(f"status {response.status}")
                if response.getheader("connection") == "close":
                    connection.close()
                    connection = None
                self.done[int(time.monotonic())] += 1
                self.servers[body] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{time.strftime('%T')} {error!r}")
                connection = None
            if self.pause_secs:
                time.sleep(self.pause_secs)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def wait_until(what, so, each=lambda: None, poll_secs=0.5):
    """Seconds that it took."""
    start = time.monotonic()
    while not so():
        if time.monotonic() - start > LIMIT_SECS:
            sys.exit(f"waited {LIMIT_SECS} s: {what}")
        each()
        time.sleep(poll_secs)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eucarc", default="/var/lib/localcloud/eucarc")
    parser.add_argument("--port", type=int, default=8088, help="of the load balancer")
    parser.add_argument("--load-secs", type=float, default=40)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="leave all of it standing at the end")
    arguments = parser.parse_args()
    cloud = Cloud(arguments.eucarc, arguments.port)
    cloud.remove()
    figures, began = {}, time.monotonic()
    last = {"line": None}

    def tell():
        second = int(time.monotonic())
        if last["line"] == second:
            return
        last["line"] = second
        cpu, alarms = cloud.cpu_percent(), cloud.alarms()
        lit = ", ".join(f"{name} {state}" for name, state in sorted(alarms.items()))
        progress(
            f"{time.monotonic() - began:6.0f} s  {load.done[second - 1]:5} requests/s  {len(load.failures):3} failed  "
            f"CPU {'  ?' if cpu is None else f'{cpu:3.0f}'} %  {cloud.in_service()} in service  {len(cloud.members())} members  alarms: {lit}"
        )

    load = Load(cloud.build(), cloud.port)
    try:
        progress(f"http://{load.host}:{load.port}/ of one web server is being built")
        figures["first_in_service_secs"] = wait_until("the first web server is in service", lambda: cloud.in_service() == 1, tell)
        load.clients(1)
        wait_until("CPU use is known and the alarm sees it", lambda: cloud.alarms().get("out") == "OK", tell)
        progress("the load begins")
        load.pause_secs, start = 0, time.monotonic()
        load.clients(arguments.clients)
        figures["load_to_alarm_secs"] = wait_until("the alarm rings", lambda: cloud.alarms().get("out") == "ALARM", tell, 0.2)
        wait_until("a second web server is in service", lambda: cloud.in_service() >= 2, tell)
        figures["load_to_second_in_service_secs"] = time.monotonic() - start
        wait_until("the load has lasted", lambda: time.monotonic() - start >= arguments.load_secs, tell)
        progress("the load ends; one client goes on with four requests a second")
        load.pause_secs, start = 0.25 * arguments.clients, time.monotonic()
        wait_until("the group is small again", lambda: len(cloud.members()) == 1 and cloud.in_service() == 1, tell)
        figures["idle_to_small_again_secs"] = time.monotonic() - start
        load.stopped = True
        for thread in load.threads:
            thread.join()
        figures["requests"], figures["failed"] = sum(load.done.values()), len(load.failures)
        figures["web_servers"] = len(load.servers)
        for cause in cloud.causes():
            progress(f"  {cause}")
    finally:
        load.stopped = True
        if not arguments.keep:
            cloud.remove()
    for failure in load.failures[:10]:
        progress(f"failed: {failure}")
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))
    sys.exit(1 if load.failures else 0)


main()
