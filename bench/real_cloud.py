"""A local cloud of a benchmark's own, on real containers or on fake drivers, and the programs that work on it, with their
time and memory."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import tomllib

import boto3
import eucarc

STACK, PORT, CLOUD_PORT = "imagecrud", int(os.environ.get("BENCH_PORT", "18084")), os.environ.get("LOCALCLOUD_PORT", "18784")
SERVICES = {
    "ec2": "EC2_URL",
    "elastic_load_balancing": "AWS_ELB_URL",
    "auto_scaling": "AWS_AUTO_SCALING_URL",
    "cloudwatch": "AWS_CLOUDWATCH_URL",
    "iam": "AWS_IAM_URL",
    "s3": "S3_URL",
}


def descendants(root):
    """The ids of a process and of all that it has started."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, open_ids = [], [root]
    while open_ids:
        found.append(open_ids.pop())
        open_ids.extend(children.get(found[-1], []))
    return found


def resident_mib(root):
    kib = 0
    for process in descendants(root):
        with contextlib.suppress(OSError):
            pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
            kib += pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return kib / 1024


class Bench:
    """The cloud, with what a stack on it is made from."""

    def __init__(self, programs, work):
        self.programs, self.work = programs, work
        self.stack, self.port, self.binary = STACK, PORT, programs / "imagecrud"
        self.config, self.state = work / "imagecrud.toml", work / "state"
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LOCALCLOUD_STATE_DIR": str(work / "cloud"),
            "LOCALCLOUD_PORT": CLOUD_PORT,
            "LOCALCLOUD_PUBLIC_SUBNET": os.environ.get("LOCALCLOUD_PUBLIC_SUBNET", "127.84"),
        }
        self.config.write_text(f"[listener]\nport = {PORT}\n")

    def run(self, *command, environment=None):
        """Seconds that a command takes, and the peak of its memory in MiB."""
        log = self.work / "log"
        begun, peak, ended = time.perf_counter(), 0.0, threading.Event()
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment or self.environment)

            def watch():
                nonlocal peak
                while not ended.wait(0.05):
                    peak = max(peak, resident_mib(process.pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            status = process.wait()
            took = time.perf_counter() - begun
            ended.set()
            watcher.join()
        if status != 0:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{log.read_text()[-8000:]}")
        return took, peak

    def deploy(self, *arguments):
        program = self.programs / "imagecrud-deploy"
        return self.run(
            program, "--config", self.config, "--state-dir", self.state, "--no-progress", *arguments
        )

    def localcloud(self, *arguments):
        subprocess.run([self.programs / "localcloud", *arguments], env=self.environment, check=True, capture_output=True)

    def empty_cloud(self):
        self.localcloud("reset", "--yes")
        shutil.rmtree(self.state, ignore_errors=True)
        self.localcloud("serve", "--detach")

    def end(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.localcloud("reset", "--yes")

    def eucarc_path(self):
        return self.work / "cloud" / "eucarc"

    def eucarc(self):
        return eucarc.read(self.eucarc_path())

    def aws_environment(self):
        variables = self.eucarc()
        urls = {f"AWS_ENDPOINT_URL_{name.upper()}": variables[url] for name, url in SERVICES.items()}
        region = variables.get("AWS_AUTH_REGION", "localcloud")
        keys = {name: variables[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        return {**self.environment, **urls, **keys, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}

    def client(self, service):
        """A client of boto3 for the cloud as it is now: an emptied one has other keys."""
        os.environ.update({name: value for name, value in self.aws_environment().items() if name.startswith("AWS_")})
        return boto3.session.Session().client(service)

    def facts(self):
        """What the playbook has to know: the user-data, types and policies of a stack that `up` has made."""
        ec2, iam, s3 = (self.client(name) for name in ("ec2", "iam", "s3"))
        bucket = s3.list_buckets()["Buckets"][0]["Name"]
        key = lambda prefix: s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]["Key"]
        instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
        is_database = lambda i: {"Key": "imagecrud:resource", "Value": "instance/database"} in i.get("Tags", [])
        database = next(i for i in instances if is_database(i))
        attribute = ec2.describe_instance_attribute(InstanceId=database["InstanceId"], Attribute="userData")
        template = ec2.describe_launch_template_versions(LaunchTemplateName=f"{self.stack}-web")["LaunchTemplateVersions"][0]
        decoded = lambda text: base64.b64decode(text).decode()
        (self.work / "database-user-data").write_text(decoded(attribute["UserData"]["Value"]))
        (self.work / "web-user-data").write_text(decoded(template["LaunchTemplateData"]["UserData"]))
        region = ec2.meta.region_name
        roles = {vm: f"{self.stack}-{region}-{vm}" for vm in ("web", "database")}
        policy = lambda role: iam.get_role_policy(RoleName=role, PolicyName="imagecrud")["PolicyDocument"]
        return {
            "stack": self.stack,
            "listener_port": self.port,
            "region": region,
            "bucket": bucket,
            "marker": json.dumps({"stack": self.stack}),
            "password": "0123456789abcdef0123456789abcdef",
            "bundle_key": key("bundle/"),
            "binary": str(self.binary),
            "trust": iam.get_role(RoleName=roles["web"])["Role"]["AssumeRolePolicyDocument"],
            "policies": {vm: policy(role) for vm, role in roles.items()},
            "former_volume_id": ec2.describe_volumes()["Volumes"][0]["VolumeId"],
            "database_user_data": str(self.work / "database-user-data"),
            "web_user_data": str(self.work / "web-user-data"),
            "database_type": database["InstanceType"],
            "web_type": template["LaunchTemplateData"]["InstanceType"],
        }


class FakeBench(Bench):
    """On fake drivers, where machines take no time and their parts are played: what is left is the API's time."""

    command = ["cargo", "test", "--quiet", "--workspace", "--test", "it", "--"]
    test = ["--ignored", "--exact", "--nocapture", "round_trips::a_cloud_of_fake_drivers_for_benches"]

    def __init__(self, programs, work):
        super().__init__(programs, work)
        self.server = None

    def empty_cloud(self):
        self.end()
        given = os.environ.get("FAKE_CLOUD")
        command = [*([given] if given else self.command), *self.test]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = next((line for line in self.server.stdout if line.startswith("serving in ")), None)
        if line is None:
            sys.exit("the cloud of fake drivers has ended")
        directory = pathlib.Path(line.removeprefix("serving in ").strip())
        self.config, self.state, self.binary = directory / "imagecrud.toml", directory / "state", directory / "app"
        settings = tomllib.loads(self.config.read_text())
        self.stack, self.port = settings["stack"], settings["listener"]["port"]

    def end(self):
        if self.server:
            self.server.stdin.close()
            self.server.stdout.read()
            self.server.wait()
            self.server = None

    def eucarc_path(self):
        return pathlib.Path(tomllib.loads(self.config.read_text())["cloud"]["credentials"])
