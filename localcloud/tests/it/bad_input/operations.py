"""Every operation, by the service models of botocore: a required parameter left out, a value that cannot be, a parameter
that nobody knows. Each must be refused with a code of AWS's that fits, in words that name the parameter.

ACTIONS stands before this text: the cloud's actions by the signing names of their services."""

import base64
import copy
import http.client
import json
import os
import re
import urllib.parse

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

MODELS = {"elasticloadbalancing": "elb", "monitoring": "cloudwatch"}
URL = os.environ["CLOUD_URL"]
KEYS = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
DEPTH = 4
WORLD = []
PUBLIC_KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1SPJOqZTbDiodWy6TnQYP1lOYzCwuR7yyPzqK9j2vT sample"
# The largest length that is tried: longer texts are more than a request may hold.
LONGEST = 200_000
MISSING = {
    "ec2": {"MissingParameter"},
    "cloudwatch": {"ValidationError", "MissingParameter"},
}
MALFORMED = {
    "ec2": {"InvalidParameterValue", "InvalidInstanceType", "InvalidKey.Format", "UnknownVolumeType"},
    "cloudwatch": {"MalformedInput", "ValidationError", "InvalidParameterValue"},
}
# What AWS has and this cloud has not, and says so.
ABSENT = ("is not recognized", "not supported", "not available", "of this cloud", "in this cloud")
ABSENT_CODES = {"UnknownParameter", "UnsupportedOperation", "ValidationError"}
# What is looked at only when it is used, or where something else is asked for first.
LATER = {
    ("CreateLaunchTemplate", "InstanceType"),
    ("CreateLaunchTemplateVersion", "InstanceType"),
    ("ModifyInstanceAttribute", "Attribute"),
    # Their codes are their names: InvalidKey.Format, InvalidUserData.Malformed.
    ("ImportKeyPair", "PublicKeyMaterial"),
    ("ModifyInstanceAttribute", "Value"),
    ("PutWarmPool", "ReuseOnScaleIn"),
    # Who may is asked before.
    ("AssumeRole", "RoleArn"),
}
QUERY_MISSING = {"ValidationError"}
QUERY_MALFORMED = {"MalformedInput", "ValidationError"}


def sample(shape, name):
    kind = shape.type_name
    if kind == "structure":
        # The models call no part of a mapping required, but a device must be named.
        wanted = [name for name in shape.members if name in shape.required_members or name in ("DeviceName", "MetricName")]
        if shape.name == "Metric":
            wanted = ["Namespace", "MetricName"]
        # A structure of which nothing is given is not on the wire.
        if shape.name in ("Instance", "Tag", "TagKeyOnly"):
            wanted = wanted or list(shape.members)[:1]
        return {member: sample(shape.members[member], member) for member in wanted}
    if kind == "list":
        return [sample(shape.member, name)]
    if kind == "map":
        return {}
    if kind == "string":
        if shape.enum:
            return shape.enum[0]
        for pattern, value in WORLD:
            if re.search(pattern, name):
                return value
        return "sample".ljust(shape.metadata.get("min", 1), "0")[: shape.metadata.get("max", 128)]
    if kind in ("integer", "long", "float", "double"):
        return max(1, shape.metadata.get("min", 1))
    time = "2026-01-02T00:00:00Z" if name.startswith("End") else "2026-01-01T00:00:00Z"
    return {"boolean": True, "timestamp": time, "blob": "c2FtcGxl"}[kind]


def places(shape, path=(), seen=()):
    """The paths of all that may be given, with their shapes and whether they must be."""
    if len(path) > DEPTH or shape.name in seen:
        return
    for name, member in shape.members.items():
        here = (*path, name)
        yield here, member, name in shape.required_members
        inner = member.member if member.type_name == "list" else member
        if inner.type_name == "structure":
            yield from places(inner, here, (*seen, shape.name))


def parent(shape, value, path):
    """The structure in which the path's last name stands, made where it is not there."""
    for name in path[:-1]:
        shape = shape.members[name]
        if name not in value:
            value[name] = sample(shape, name)
        value = value[name]
        if shape.type_name == "list":
            shape, value = shape.member, value[0]
    return value


def wire_name(service, shape, name):
    said = shape.serialization
    if service == "ec2":
        known = said.get("queryName") or said.get("name") or name
        return known[0].upper() + known[1:]
    return said.get("name", name)


def pairs(service, shape, value, prefix):
    """The parameters of a query request, as `smithy.io/2.0/aws/protocols/aws-query-protocol.html` writes them."""
    if isinstance(value, dict) and shape.type_name == "structure":
        for name, inner in value.items():
            known = shape.members.get(name)
            written = wire_name(service, known, name) if known else name
            yield from pairs(service, known, inner, f"{prefix}.{written}" if prefix else written)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            between = "" if service == "ec2" or shape.serialization.get("flattened") else ".member"
            yield from pairs(service, shape.member, inner, f"{prefix}{between}.{number}")
    elif not isinstance(value, dict):
        yield prefix, {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else str(value)


def outers(service, shape, path):
    """What the parameters around this one are called, there and on the wire, without a plural's end."""
    for name in path:
        shape = shape.member if shape.type_name == "list" else shape
        shape = shape.members[name]
        yield name.rstrip("s"), wire_name(service, shape, name).rstrip("s")


class Cloud:
    def __init__(self, signing_name, keys):
        self.keys = keys
        host = urllib.parse.urlsplit(URL)
        self.connection = http.client.HTTPConnection(host.hostname, host.port, timeout=20)
        self.signing_name = signing_name

    def send(self, body, headers):
        request = AWSRequest("POST", URL + "/", headers=headers, data=body)
        SigV4Auth(self.keys, self.signing_name, "localcloud").add_auth(request)
        self.connection.request("POST", "/", body, dict(request.headers.items()))
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()


class Query(Cloud):
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    def ask(self, service, operation, value):
        parameters = [("Action", operation.name), ("Version", "x"), *pairs(service, operation.input_shape, value, "")]
        status, said = self.send(urllib.parse.urlencode(parameters), self.headers)
        code, message = (re.search(f"<{tag}>(.*?)</{tag}>", said, re.DOTALL) for tag in ("Code", "Message"))
        return status, code and code[1], (message[1] if message else said)


class Json(Cloud):
    def ask(self, _service, operation, value):
        target = f"GraniteServiceVersion20100801.{operation.name}"
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target, "x-amzn-query-mode": "true"}
        request = AWSRequest("POST", URL + "/", headers=headers, data=json.dumps(value))
        SigV4Auth(self.keys, self.signing_name, "localcloud").add_auth(request)
        self.connection.request("POST", "/", request.body, dict(request.headers.items()))
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        code = answer.headers.get("x-amzn-query-error", "").split(";")[0]
        return answer.status, code, said.get("message", "")


def bad_values(service, shape):
    kind = shape.type_name
    if kind in ("integer", "long", "float", "double", "boolean", "timestamp"):
        yield "bogus!"
    if kind == "blob" and service != "cloudwatch":
        yield "!!!"
    if kind == "string" and shape.enum:
        yield "bogus!"
    if service == "ec2":
        return
    if kind == "string" and not shape.enum and shape.metadata.get("max", LONGEST) < LONGEST:
        yield "x" * (shape.metadata["max"] + 1)
    if kind in ("integer", "long") and "min" in shape.metadata:
        yield shape.metadata["min"] - 1


def boto(service):
    path = {"ec2": "compute", "iam": "Euare", "elb": "LoadBalancing", "autoscaling": "AutoScaling"}[service]
    return boto3.client(service, endpoint_url=f"{URL}/services/{path}")


def found_world():
    """Things to which requests can belong, so that nothing is wrong with them but what the test makes wrong. Texts are told
    by the names of their parameters."""
    ec2, iam = boto("ec2"), boto("iam")
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    image = ec2.create_image(InstanceId=instance, Name="own")["ImageId"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    group = ec2.create_security_group(GroupName="sample", Description="sample")["GroupId"]
    data = {"ImageId": image, "InstanceType": "t3.micro"}
    ec2.create_launch_template(LaunchTemplateName="sample", LaunchTemplateData=data)
    balancer = {"Protocol": "HTTP", "LoadBalancerPort": 8099, "InstancePort": 80}
    boto("elb").create_load_balancer(LoadBalancerName="sample", Listeners=[balancer], AvailabilityZones=[zone])
    boto("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="sample", LaunchTemplate={"LaunchTemplateName": "sample"}, MinSize=0, MaxSize=0, AvailabilityZones=[zone]
    )
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    statement = {"Effect": "Allow", "Action": actions, "Principal": {"AWS": "*"}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="sample", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.create_user(UserName="sample")
    everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    iam.put_user_policy(UserName="sample", PolicyName="sample", PolicyDocument=everything)
    key = iam.create_access_key(UserName="sample")["AccessKey"]
    WORLD.extend(
        [
            ("^RoleArn$", role),
            ("Arns?$", "arn:aws:iam::000000000001:policy/sample"),
            ("(InstanceIds?|^Instances)$", instance),
            ("^(Instance)?Protocol$", "HTTP"),
            ("^Architecture$", ec2.describe_images(ImageIds=[image])["Images"][0]["Architecture"]),
            ("VolumeIds?$", volume),
            ("SnapshotIds?$", snapshot),
            ("ImageIds?$", image),
            ("GroupIds?$", group),
            ("AllocationIds?$", "eipalloc-0123456789abcdef0"),
            ("^AvailabilityZones?$", zone),
            ("Region$", "localcloud"),
            ("(PolicyDocument|PolicyInputList|^Policy)$", everything),
        ]
    )
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def extras():
    """What these need beyond what the models call required."""
    zone, image = dict(WORLD)["^AvailabilityZones?$"], dict(WORLD)["ImageIds?$"]
    device = boto("ec2").describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"][0]
    root = {"DeviceName": device["DeviceName"], "Ebs": {"SnapshotId": device["Ebs"]["SnapshotId"]}}
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 8098, "InstancePort": 80}
    alarm = {"MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60, "Threshold": 1}
    return {
        "CreateVolume": {"AvailabilityZone": zone, "Size": 1},
        "CreateLaunchTemplate": {"LaunchTemplateName": "other", "LaunchTemplateData": {"ImageId": image}},
        "CreateLaunchTemplateVersion": {"LaunchTemplateName": "sample", "LaunchTemplateData": {"ImageId": image}},
        "CreateLoadBalancerListeners": {"Listeners": [listener]},
        "GetMetricStatistics": {"Statistics": ["Sum"]},
        "DeleteLaunchTemplateVersions": {"LaunchTemplateName": "sample"},
        "CreateAutoScalingGroup": {
            "AutoScalingGroupName": "other",
            "LaunchTemplate": {"LaunchTemplateName": "sample"},
            "AvailabilityZones": [zone],
        },
        "CreateLoadBalancer": {"LoadBalancerName": "other", "AvailabilityZones": [zone], "Listeners": [listener]},
        "CreateSecurityGroup": {"GroupName": "other"},
        "ImportKeyPair": {"PublicKeyMaterial": base64.b64encode(PUBLIC_KEY).decode()},
        "RegisterImage": {"RootDeviceName": root["DeviceName"], "BlockDeviceMappings": [root]},
        "RunInstances": {"ImageId": image},
        "ModifyLoadBalancerAttributes": {"LoadBalancerAttributes": {"CrossZoneLoadBalancing": {"Enabled": True}}},
        "PutScalingPolicy": {"AdjustmentType": "ChangeInCapacity"},
        "PutMetricAlarm": alarm,
        "PutMetricData": {"MetricData": [{"MetricName": "m", "Value": 1}]},
    }


def main():
    session, wrong, asked = botocore.session.get_session(), [], 0
    user = found_world()
    more = extras()
    for signing_name, actions in ACTIONS.items():
        service = MODELS.get(signing_name, signing_name)
        model = session.get_service_model(service)
        # The account's root may not assume roles.
        keys = user if service == "sts" else KEYS
        clouds = [Query(signing_name, keys)] + ([Json(signing_name, keys)] if service == "cloudwatch" else [])
        missing = MISSING.get(service, QUERY_MISSING)
        malformed = MALFORMED.get(service, QUERY_MALFORMED)

        def check(what, operation, value, codes, names, around=()):
            nonlocal asked
            for cloud in clouds:
                asked += 1
                try:
                    status, code, message = cloud.ask(service, operation, value)
                except OSError as error:
                    cloud.connection.close()
                    status, code, message = 0, None, str(error)
                # What this cloud does not have may be refused as a whole, by the name of what is around it.
                whole = any(words in message for words in ABSENT)
                named = any(name.lower() in message.lower() for name in (*names, *(around if whole else ())))
                if not (400 <= status < 500 and code in codes and named):
                    wrong.append(f"{service} {operation.name}: {what}: {status} {code}: {message[:200]}")

        for action in actions:
            operation = model.operation_model(action)
            shape = operation.input_shape
            whole = {**(sample(shape, action) if shape else {}), **more.get(action, {})}
            if shape:
                check("an unknown parameter", operation, {**whole, "Bogus": "x"}, {"UnknownParameter", "ValidationError"}, ["Bogus"])
            for path, member, required in places(shape) if shape else []:
                if (action, path[-1]) in LATER:
                    continue
                around = [part for outer in outers(service, shape, path) for part in outer]
                names = [path[-1], wire_name(service, member, path[-1])]
                where = ".".join(path)
                value = copy.deepcopy(whole)
                place = parent(shape, value, path)
                # A structure of which nothing is left is not on the wire.
                if required and (len(place) > 1 or len(path) == 1):
                    place.pop(path[-1], None)
                    check(f"without {where}", operation, value, missing | ABSENT_CODES, names, around)
                inner = member.member if member.type_name == "list" else member
                for bad in bad_values(service, inner):
                    value = copy.deepcopy(whole)
                    parent(shape, value, path)[path[-1]] = [bad] if inner is not member else bad
                    # In places AWS repeats the value and not the name.
                    names = [path[-1], wire_name(service, member, path[-1]), *(["bogus!"] if bad == "bogus!" else [])]
                    check(f"{where}={str(bad)[:20]}", operation, value, malformed | ABSENT_CODES, names, around)
    print("\n".join(wrong) if wrong else f"refused {asked}")


main()
