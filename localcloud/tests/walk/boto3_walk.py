"""A walk through every service with boto3, as a user's program would make it. Each step checks what came of it.

    boto3_walk.py BASE_URL        (credentials and region in the environment, as boto3 wants them)

The cloud may be one on fake drivers: nothing here looks into an instance.
"""

import datetime
import json
import sys
import time

import boto3
import botocore.config
import botocore.exceptions

BASE = sys.argv[1]
PATHS = {
    "ec2": "compute",
    "elb": "LoadBalancing",
    "autoscaling": "AutoScaling",
    "cloudwatch": "CloudWatch",
    "iam": "Euare",
    "sts": "Tokens",
}
CONFIG = botocore.config.Config(retries={"max_attempts": 0})
UTC = datetime.timezone.utc


def client(service, **keys):
    return boto3.client(service, endpoint_url=f"{BASE}/services/{PATHS[service]}", config=CONFIG, **keys)


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call.__name__} {parameters} was not refused")


def until(what, so):
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline, f"waited 30 s: {what}"
        time.sleep(0.05)


def walk_sts():
    sts = client("sts")
    identity = sts.get_caller_identity()
    assert identity["Arn"].endswith(":root"), identity
    return identity["Account"]


def walk_ec2():
    ec2 = client("ec2")
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    key = ec2.create_key_pair(KeyName="walk", KeyType="ed25519")
    assert key["KeyMaterial"].startswith("-----BEGIN")
    group = ec2.create_security_group(GroupName="walk", Description="a walk")["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "walk", "Value": "yes"}]}]
    run = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=2, MaxCount=2, KeyName="walk", SecurityGroupIds=[group], TagSpecifications=tags
    )
    ids = [instance["InstanceId"] for instance in run["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    filters = [{"Name": "tag:walk", "Values": ["y*"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    found = [i["InstanceId"] for r in ec2.describe_instances(Filters=filters)["Reservations"] for i in r["Instances"]]
    assert sorted(found) == sorted(ids), found
    refused("InvalidParameterValue", ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}])
    refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-00000000000000000"])
    first = ids[0]
    ec2.modify_instance_attribute(InstanceId=first, DisableApiTermination={"Value": True})
    refused("OperationNotPermitted", ec2.terminate_instances, InstanceIds=[first])
    ec2.modify_instance_attribute(InstanceId=first, DisableApiTermination={"Value": False})
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=volume, InstanceId=first, Device="/dev/vdf")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    snapshot = ec2.create_snapshot(VolumeId=volume, Description="of a walk")["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    second_volume = ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[second_volume], WaiterConfig={"Delay": 1})
    address = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=first)["AssociationId"]
    described = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
    assert described["PublicIpAddress"] == address["PublicIp"], described
    ec2.disassociate_address(AssociationId=association)
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.stop_instances(InstanceIds=[first])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[first], WaiterConfig={"Delay": 1})
    made = ec2.create_image(InstanceId=first, Name="walked")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
    ec2.start_instances(InstanceIds=[first])
    ec2.get_waiter("instance_running").wait(InstanceIds=[first], WaiterConfig={"Delay": 1})
    ec2.get_console_output(InstanceId=first)
    template = ec2.create_launch_template(LaunchTemplateName="walk", LaunchTemplateData={"ImageId": made, "InstanceType": "t3.micro"})
    ec2.create_launch_template_version(
        LaunchTemplateName="walk", SourceVersion="1", LaunchTemplateData={"InstanceType": "m1.small"}
    )
    assert len(ec2.describe_launch_template_versions(LaunchTemplateName="walk")["LaunchTemplateVersions"]) == 2
    ec2.detach_volume(VolumeId=volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    for gone in (volume, second_volume):
        ec2.delete_volume(VolumeId=gone)
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplate"]["LaunchTemplateId"])
    ec2.deregister_image(ImageId=made)
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.delete_key_pair(KeyName="walk")
    ec2.delete_security_group(GroupId=group)


def walk_elb():
    elb, zone = client("elb"), client("ec2").describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 8099, "InstancePort": 80}
    made = elb.create_load_balancer(LoadBalancerName="walk", Listeners=[listener], AvailabilityZones=[zone])
    assert made["DNSName"].startswith("walk-"), made
    elb.configure_health_check(
        LoadBalancerName="walk",
        HealthCheck={"Target": "HTTP:80/healthz", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2},
    )
    elb.modify_load_balancer_attributes(
        LoadBalancerName="walk", LoadBalancerAttributes={"ConnectionDraining": {"Enabled": True, "Timeout": 5}}
    )
    attributes = elb.describe_load_balancer_attributes(LoadBalancerName="walk")["LoadBalancerAttributes"]
    assert attributes["ConnectionDraining"]["Timeout"] == 5, attributes
    elb.create_lb_cookie_stickiness_policy(LoadBalancerName="walk", PolicyName="sticky", CookieExpirationPeriod=60)
    elb.set_load_balancer_policies_of_listener(LoadBalancerName="walk", LoadBalancerPort=8099, PolicyNames=["sticky"])
    described = elb.describe_load_balancers(LoadBalancerNames=["walk"])["LoadBalancerDescriptions"][0]
    assert described["ListenerDescriptions"][0]["PolicyNames"] == ["sticky"], described
    elb.add_tags(LoadBalancerNames=["walk"], Tags=[{"Key": "walk", "Value": "yes"}])
    assert elb.describe_tags(LoadBalancerNames=["walk"])["TagDescriptions"][0]["Tags"] == [{"Key": "walk", "Value": "yes"}]
    assert elb.describe_instance_health(LoadBalancerName="walk")["InstanceStates"] == []
    refused("LoadBalancerNotFound", elb.describe_load_balancers, LoadBalancerNames=["nobody"])


def walk_autoscaling():
    autoscaling, ec2 = client("autoscaling"), client("ec2")
    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    autoscaling.create_launch_configuration(LaunchConfigurationName="walk", ImageId=image, InstanceType="t3.micro")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="walk",
        LaunchConfigurationName="walk",
        MinSize=1,
        MaxSize=4,
        DesiredCapacity=1,
        AvailabilityZones=[zone],
        LoadBalancerNames=["walk"],
        Tags=[{"Key": "walk", "Value": "yes", "PropagateAtLaunch": True}],
    )

    def members(state="InService"):
        group = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["walk"])["AutoScalingGroups"][0]
        return [instance["InstanceId"] for instance in group["Instances"] if instance["LifecycleState"] == state]

    until("the group has its member", lambda: len(members()) == 1)
    step = autoscaling.put_scaling_policy(
        AutoScalingGroupName="walk",
        PolicyName="step",
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        StepAdjustments=[{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        EstimatedInstanceWarmup=0,
    )
    tracking = autoscaling.put_scaling_policy(
        AutoScalingGroupName="walk",
        PolicyName="tracking",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 50.0,
        },
    )
    assert len(tracking["Alarms"]) == 2, tracking
    autoscaling.delete_policy(AutoScalingGroupName="walk", PolicyName="tracking")
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName="walk", ScheduledActionName="nightly", Recurrence="0 3 * * *", MinSize=1
    )
    assert len(autoscaling.describe_scheduled_actions(AutoScalingGroupName="walk")["ScheduledUpdateGroupActions"]) == 1
    autoscaling.delete_scheduled_action(AutoScalingGroupName="walk", ScheduledActionName="nightly")
    autoscaling.put_lifecycle_hook(
        AutoScalingGroupName="walk",
        LifecycleHookName="born",
        LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
        HeartbeatTimeout=60,
    )
    autoscaling.set_desired_capacity(AutoScalingGroupName="walk", DesiredCapacity=2)
    until("a member waits at the hook", lambda: len(members("Pending:Wait")) == 1)
    waiting = members("Pending:Wait")[0]
    autoscaling.complete_lifecycle_action(
        AutoScalingGroupName="walk", LifecycleHookName="born", InstanceId=waiting, LifecycleActionResult="CONTINUE"
    )
    until("it came into service", lambda: waiting in members())
    autoscaling.delete_lifecycle_hook(AutoScalingGroupName="walk", LifecycleHookName="born")
    autoscaling.enter_standby(AutoScalingGroupName="walk", InstanceIds=[waiting], ShouldDecrementDesiredCapacity=True)
    until("it stands by", lambda: members("Standby") == [waiting])
    autoscaling.exit_standby(AutoScalingGroupName="walk", InstanceIds=[waiting])
    until("it is back", lambda: waiting in members())
    autoscaling.enable_metrics_collection(AutoScalingGroupName="walk", Granularity="1Minute")
    autoscaling.execute_policy(AutoScalingGroupName="walk", PolicyName="step", MetricValue=80, BreachThreshold=50)
    until("the step policy was carried out", lambda: len(members()) == 3)
    assert step["PolicyARN"]
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName="walk")["Activities"]
    assert any("executed policy step" in activity["Cause"] for activity in activities), activities
    autoscaling.suspend_processes(AutoScalingGroupName="walk", ScalingProcesses=["AlarmNotification"])
    autoscaling.resume_processes(AutoScalingGroupName="walk")


def walk_cloudwatch():
    cloudwatch, autoscaling = client("cloudwatch"), client("autoscaling")
    now = datetime.datetime.now(UTC)
    dimensions = [{"Name": "Path", "Value": "/"}]
    datum = {"MetricName": "Steps", "Dimensions": dimensions, "Unit": "Count", "StorageResolution": 1}
    data = [datum | {"Timestamp": now - datetime.timedelta(seconds=70 + s), "Value": 100.0 + s} for s in range(0, 60, 10)]
    cloudwatch.put_metric_data(Namespace="Walk", MetricData=data)
    metrics = cloudwatch.list_metrics(Namespace="Walk")["Metrics"]
    assert metrics == [{"Namespace": "Walk", "MetricName": "Steps", "Dimensions": dimensions}], metrics
    window = {"StartTime": now - datetime.timedelta(minutes=5), "EndTime": now}
    points = cloudwatch.get_metric_statistics(
        Namespace="Walk", MetricName="Steps", Dimensions=dimensions, Period=60, Statistics=["Sum", "SampleCount", "Maximum"], **window
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 6, points
    assert max(point["Maximum"] for point in points) == 150, points
    queries = [
        {
            "Id": "m1",
            "MetricStat": {"Metric": metrics[0], "Period": 60, "Stat": "SampleCount"},
            "ReturnData": False,
        },
        {"Id": "double", "Expression": "m1 * 2", "Label": "twice"},
    ]
    results = cloudwatch.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]
    assert [result["Id"] for result in results] == ["double"] and sum(results[0]["Values"]) == 12, results
    policy = autoscaling.put_scaling_policy(
        AutoScalingGroupName="walk", PolicyName="by-alarm", AdjustmentType="ChangeInCapacity", ScalingAdjustment=1, Cooldown=0
    )["PolicyARN"]
    cloudwatch.put_metric_alarm(
        AlarmName="walk",
        Namespace="Walk",
        MetricName="Steps",
        Dimensions=dimensions,
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=2,
        DatapointsToAlarm=1,
        Threshold=120,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[policy],
    )

    def state():
        return cloudwatch.describe_alarms(AlarmNames=["walk"])["MetricAlarms"][0]["StateValue"]

    def carried_out():
        activities = autoscaling.describe_scaling_activities(AutoScalingGroupName="walk")["Activities"]
        return any("monitor alarm walk in state ALARM triggered policy by-alarm" in a["Cause"] for a in activities)

    until("the alarm rings", lambda: state() == "ALARM")
    until("its policy is carried out", carried_out)
    history = cloudwatch.describe_alarm_history(AlarmName="walk")["AlarmHistoryItems"]
    assert {item["HistoryItemType"] for item in history} >= {"ConfigurationUpdate", "StateUpdate", "Action"}, history
    cloudwatch.set_alarm_state(AlarmName="walk", StateValue="OK", StateReason="a walk")
    cloudwatch.delete_alarms(AlarmNames=["walk"])
    assert "Period" in refused("InvalidParameterCombination", cloudwatch.get_metric_statistics, Namespace="Walk", MetricName="Steps",
                               Period=60, Statistics=["Sum"], StartTime=now - datetime.timedelta(days=10), EndTime=now)


def walk_iam(account):
    iam = client("iam")
    iam.create_user(UserName="walker")
    key = iam.create_access_key(UserName="walker")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    assert client("sts", **keys).get_caller_identity()["Arn"].endswith(":user/walker")
    message = refused("UnauthorizedOperation", client("ec2", **keys).describe_instances)
    assert "ec2:DescribeInstances" in message, message
    allow = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}}
    iam.put_user_policy(UserName="walker", PolicyName="look", PolicyDocument=json.dumps(allow))
    client("ec2", **keys).describe_instances()
    refused("AccessDenied", client("elb", **keys).describe_load_balancers)
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:user/walker"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName="guide", AssumeRolePolicyDocument=json.dumps(trust))
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "elasticloadbalancing:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="guide", PolicyName="balance", PolicyDocument=json.dumps(document))
    assume = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}}
    iam.put_user_policy(UserName="walker", PolicyName="assume", PolicyDocument=json.dumps(assume))
    session = client("sts", **keys).assume_role(RoleArn=f"arn:aws:iam::{account}:role/guide", RoleSessionName="walk")["Credentials"]
    temporary = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    assert len(client("elb", **temporary).describe_load_balancers()["LoadBalancerDescriptions"]) == 1
    refused("UnauthorizedOperation", client("ec2", **temporary).describe_instances)
    iam.create_instance_profile(InstanceProfileName="guide")
    iam.add_role_to_instance_profile(InstanceProfileName="guide", RoleName="guide")
    iam.remove_role_from_instance_profile(InstanceProfileName="guide", RoleName="guide")
    iam.delete_instance_profile(InstanceProfileName="guide")
    iam.delete_role_policy(RoleName="guide", PolicyName="balance")
    iam.delete_role(RoleName="guide")
    iam.update_access_key(UserName="walker", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused("InvalidClientTokenId", client("sts", **keys).get_caller_identity)
    refused("DeleteConflict", iam.delete_user, UserName="walker")
    iam.delete_access_key(UserName="walker", AccessKeyId=key["AccessKeyId"])
    for name in iam.list_user_policies(UserName="walker")["PolicyNames"]:
        iam.delete_user_policy(UserName="walker", PolicyName=name)
    iam.delete_user(UserName="walker")


def leave():
    autoscaling, elb = client("autoscaling"), client("elb")
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName="walk", ForceDelete=True)
    until("the group is gone", lambda: not autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"])
    autoscaling.delete_launch_configuration(LaunchConfigurationName="walk")
    elb.delete_load_balancer(LoadBalancerName="walk")
    assert elb.describe_load_balancers()["LoadBalancerDescriptions"] == []


def main():
    account = walk_sts()
    walk_ec2()
    walk_elb()
    walk_autoscaling()
    walk_cloudwatch()
    walk_iam(account)
    leave()
    print("walked")


if __name__ == "__main__":
    main()
