"""A whole life of instance, volume and their kin, by boto3 alone. Prints `done`."""

import os

import boto3
import botocore.exceptions
from botocore.config import Config

config = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)
ec2 = boto3.client("ec2", endpoint_url=os.environ["EC2_URL"], config=config)
quick = {"Delay": 1, "MaxAttempts": 30}


def refused(code, action, **parameters):
    try:
        action(**parameters)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"not refused: {parameters}")


image = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["deb*"]}])["Images"][0]
assert image["State"] == "available" and image["RootDeviceType"] == "ebs", image
zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
dns = ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")
assert dns["EnableDnsHostnames"] == {"Value": True}, dns
subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"][0]
assert subnet["AvailabilityZone"] == zone and subnet["DefaultForAz"], subnet
assert ec2.describe_regions()["Regions"][0]["RegionName"] == "localcloud"
assert ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"][0]["AttributeValues"]
assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
kinds = ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
assert kinds[0]["VCpuInfo"]["DefaultVCpus"] == 2 and kinds[0]["MemoryInfo"]["SizeInMiB"] == 1024, kinds
assert ec2.describe_instance_type_offerings(LocationType="availability-zone")["InstanceTypeOfferings"]

tags = [{"Key": "stack", "Value": "s & <t>"}]
key = ec2.create_key_pair(KeyName="key", KeyType="ed25519")
assert "PRIVATE KEY" in key["KeyMaterial"], key
public = ec2.describe_key_pairs(KeyNames=["key"], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
imported = ec2.import_key_pair(KeyName="again", PublicKeyMaterial=public.encode())
assert imported["KeyFingerprint"] == key["KeyFingerprint"], imported

group = ec2.create_security_group(
    GroupName="web", Description="web", VpcId=vpc["VpcId"],
    TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
)["GroupId"]
permission = {
    "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
    "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
}
allowed = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
assert allowed["Return"] and len(allowed["SecurityGroupRules"]) == 2, allowed
refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[permission])
described = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
assert described["IpPermissions"][0]["IpRanges"] == permission["IpRanges"], described
assert described["Tags"] == tags, described

template = ec2.create_launch_template(
    LaunchTemplateName="web",
    LaunchTemplateData={
        "ImageId": image["ImageId"], "InstanceType": "t3.micro", "KeyName": "key", "SecurityGroupIds": [group],
        "UserData": "aGVsbG8=", "MetadataOptions": {"HttpTokens": "required"},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
    },
)["LaunchTemplate"]
versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"], Versions=["$Latest"])
data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
assert data["UserData"] == "aGVsbG8=" and data["SecurityGroupIds"] == [group], data

launch = dict(
    MinCount=1, MaxCount=1, ClientToken="one",
    LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "$Latest"},
    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web-1"}]}],
)
instance = ec2.run_instances(**launch)["Instances"][0]
assert ec2.run_instances(**launch)["Instances"][0]["InstanceId"] == instance["InstanceId"]
refused("IdempotentParameterMismatch", ec2.run_instances, **{**launch, "MaxCount": 2})
name = instance["InstanceId"]
ec2.get_waiter("instance_running").wait(InstanceIds=[name], WaiterConfig=quick)
ec2.get_waiter("instance_status_ok").wait(InstanceIds=[name], WaiterConfig=quick)
found = ec2.describe_instances(Filters=[{"Name": "tag:stack", "Values": ["s & <t>"]}])["Reservations"][0]["Instances"][0]
assert found["InstanceId"] == name and found["State"] == {"Code": 16, "Name": "running"}, found
assert found["PrivateIpAddress"].startswith("10.77.") and found["PublicIpAddress"].startswith("127.77."), found
assert found["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}], found
assert found["LaunchTime"].year > 2000 and found["MetadataOptions"]["HttpTokens"] == "required", found
assert ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"] == "aGVsbG8="
assert "fake instance" in ec2.get_console_output(InstanceId=name)["Output"]

volume = ec2.create_volume(
    AvailabilityZone=zone, Size=2, VolumeType="gp3", TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
)["VolumeId"]
ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=quick)
ec2.attach_volume(VolumeId=volume, InstanceId=name, Device="/dev/vdf")
ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=quick)
refused("VolumeInUse", ec2.delete_volume, VolumeId=volume)
assert ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"][0]["VolumeStatus"]["Status"] == "ok"
ec2.create_tags(Resources=[volume, name], Tags=[{"Key": "more", "Value": ""}])
assert len(ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [volume]}])["Tags"]) == 2
ec2.delete_tags(Resources=[volume], Tags=[{"Key": "more"}])

refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
changes = ec2.terminate_instances(InstanceIds=[name])["TerminatingInstances"][0]
assert (changes["PreviousState"]["Name"], changes["CurrentState"]["Name"]) == ("running", "shutting-down"), changes
ec2.get_waiter("instance_terminated").wait(InstanceIds=[name], WaiterConfig=quick)
ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=quick)
ec2.delete_volume(VolumeId=volume)
ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=quick)
ec2.delete_launch_template(LaunchTemplateName="web")
ec2.delete_security_group(GroupId=group)
for pair in ("key", "again", "never-there"):
    ec2.delete_key_pair(KeyName=pair)
refused("InvalidParameterValue", ec2.describe_volumes, Filters=[{"Name": "colour", "Values": ["red"]}])
wrong = boto3.client(
    "ec2", endpoint_url=os.environ["EC2_URL"], config=config, aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    aws_secret_access_key="wrong",
)
refused("AuthFailure", wrong.describe_instances)
print("done")
