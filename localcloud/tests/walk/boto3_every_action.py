"""The walk of boto3_walk.py, and behind it whatever actions it does not come by: each is called, and succeeds.

    boto3_every_action.py BASE_URL ACTIONS        (ACTIONS: as JSON, the actions of each service by its signing name)

The environment holds what boto3 wants, and in WALK_CERTIFICATE a certificate and its key.
"""

import datetime
import json
import os
import sys

import boto3_walk as walk
from boto3_walk import refused, until

ACTIONS = {service: set(actions) for service, actions in json.loads(sys.argv[2]).items()}
# What this cloud refuses whatever is asked.
REFUSED = {("autoscaling", "PutWarmPool"), ("autoscaling", "DeleteWarmPool")}
SUCCEEDED = set()


def note(model, parsed, **_):
    if parsed["ResponseMetadata"]["HTTPStatusCode"] < 300:
        SUCCEEDED.add((model.service_model.signing_name, model.name))


plain_client = walk.client


def client(service, **keys):
    made = plain_client(service, **keys)
    made.meta.events.register("after-call", note)
    return made


walk.client = client


def the_rest_of_ec2():
    ec2, iam = client("ec2"), client("iam")
    for describe in (
        "account_attributes availability_zones iam_instance_profile_associations instance_type_offerings instance_types "
        "internet_gateways launch_templates network_interfaces regions subnets volumes_modifications vpcs volumes snapshots"
    ).split():
        getattr(ec2, f"describe_{describe}")()
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsSupport")
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    built = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    group = ec2.create_security_group(GroupName="rest", Description="the rest")["GroupId"]
    rules = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    for way in ("ingress", "egress"):
        getattr(ec2, f"authorize_security_group_{way}")(GroupId=group, IpPermissions=rules)
        found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
        assert any(rule["IsEgress"] == (way == "egress") and rule.get("FromPort") == 80 for rule in found), found
        getattr(ec2, f"revoke_security_group_{way}")(GroupId=group, IpPermissions=rules)
    assert len(ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]) == 0
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1SPJOqZTbDiodWy6TnQYP1lOYzCwuR7yyPzqK9j2vT walk"
    ec2.import_key_pair(KeyName="rest", PublicKeyMaterial=public.encode())
    assert ec2.describe_key_pairs(KeyNames=["rest"])["KeyPairs"][0]["KeyType"] == "ed25519"
    ec2.delete_key_pair(KeyName="rest")

    instance = ec2.run_instances(ImageId=built, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "rest", "Value": "yes"}])
    assert ec2.describe_tags(Filters=[{"Name": "key", "Values": ["rest"]}])["Tags"][0]["ResourceId"] == instance
    ec2.delete_tags(Resources=[instance], Tags=[{"Key": "rest"}])
    assert ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"][0]["InstanceState"]["Name"] == "running"
    kind = ec2.describe_instance_attribute(InstanceId=instance, Attribute="instanceType")["InstanceType"]["Value"]
    assert kind == "t3.micro", kind
    ec2.reset_instance_attribute(InstanceId=instance, Attribute="sourceDestCheck")
    assert ec2.monitor_instances(InstanceIds=[instance])["InstanceMonitorings"][0]["Monitoring"]["State"] == "enabled"
    ec2.unmonitor_instances(InstanceIds=[instance])
    ec2.reboot_instances(InstanceIds=[instance])
    ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
    ec2.describe_instance_credit_specifications(InstanceIds=[instance])
    ec2.get_password_data(InstanceId=instance)
    ec2.report_instance_status(Instances=[instance], Status="impaired", ReasonCodes=["other"])
    iam.create_instance_profile(InstanceProfileName="rest")
    association = ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "rest"})
    named = {"AssociationId": association["IamInstanceProfileAssociation"]["AssociationId"]}
    replaced = ec2.replace_iam_instance_profile_association(IamInstanceProfile={"Name": "rest"}, **named)
    named["AssociationId"] = replaced["IamInstanceProfileAssociation"]["AssociationId"]
    ec2.disassociate_iam_instance_profile(**named)
    iam.delete_instance_profile(InstanceProfileName="rest")
    address = ec2.allocate_address(Domain="vpc")
    assert ec2.describe_addresses(PublicIps=[address["PublicIp"]])["Addresses"][0]["AllocationId"] == address["AllocationId"]
    ec2.release_address(AllocationId=address["AllocationId"])

    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    ec2.modify_volume(VolumeId=volume, Size=2)
    until("the volume has grown", lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 2)
    ec2.modify_volume_attribute(VolumeId=volume, AutoEnableIO={"Value": True})
    assert ec2.describe_volume_attribute(VolumeId=volume, Attribute="autoEnableIO")["AutoEnableIO"]["Value"]
    assert ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"][0]["VolumeStatus"]["Status"] == "ok"
    ec2.enable_volume_io(VolumeId=volume)
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/vdf")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    of = {"InstanceId": instance, "ExcludeBootVolume": True}
    snapshot = ec2.create_snapshots(InstanceSpecification=of)["Snapshots"][0]["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    everybody = {"Attribute": "createVolumePermission", "SnapshotId": snapshot}
    ec2.modify_snapshot_attribute(OperationType="add", GroupNames=["all"], **everybody)
    assert ec2.describe_snapshot_attribute(**everybody)["CreateVolumePermissions"] == [{"Group": "all"}]
    ec2.reset_snapshot_attribute(**everybody)
    copy = ec2.copy_snapshot(SourceRegion="localcloud", SourceSnapshotId=snapshot)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[copy], WaiterConfig={"Delay": 1})
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.modify_instance_placement(InstanceId=instance, Tenancy="default")
    ec2.detach_volume(VolumeId=volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})

    made = ec2.create_image(InstanceId=instance, Name="rest")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
    launchable = {"ImageId": made, "Attribute": "launchPermission"}
    ec2.modify_image_attribute(LaunchPermission={"Add": [{"Group": "all"}]}, **launchable)
    assert ec2.describe_image_attribute(**launchable)["LaunchPermissions"] == [{"Group": "all"}]
    ec2.reset_image_attribute(**launchable)
    copied = ec2.copy_image(Name="copied", SourceImageId=made, SourceRegion="localcloud")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[copied], WaiterConfig={"Delay": 1})
    device = ec2.describe_images(ImageIds=[made])["Images"][0]["BlockDeviceMappings"][0]
    root = {"DeviceName": device["DeviceName"], "Ebs": {"SnapshotId": device["Ebs"]["SnapshotId"]}}
    registered = ec2.register_image(
        Name="registered", RootDeviceName=root["DeviceName"], BlockDeviceMappings=[root], VirtualizationType="hvm"
    )["ImageId"]
    template = ec2.create_launch_template(LaunchTemplateName="rest", LaunchTemplateData={"ImageId": made, "InstanceType": "t3.micro"})
    template = {"LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"]}
    ec2.create_launch_template_version(SourceVersion="1", LaunchTemplateData={"InstanceType": "m1.small"}, **template)
    ec2.modify_launch_template(DefaultVersion="2", **template)
    gone = ec2.delete_launch_template_versions(Versions=["1"], **template)
    assert len(gone["SuccessfullyDeletedLaunchTemplateVersions"]) == 1, gone
    ec2.delete_launch_template(**template)
    for image in (registered, copied, made):
        ec2.deregister_image(ImageId=image)
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    ec2.delete_volume(VolumeId=volume)
    ec2.delete_security_group(GroupId=group)


def the_rest_of_elb(certificate):
    elb, ec2 = client("elb"), client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    name = {"LoadBalancerName": "walk"}
    assert elb.apply_security_groups_to_load_balancer(SecurityGroups=[group], **name)["SecurityGroups"] == [group]
    elb.attach_load_balancer_to_subnets(Subnets=[subnet["SubnetId"]], **name)
    elb.enable_availability_zones_for_load_balancer(AvailabilityZones=[subnet["AvailabilityZone"]], **name)
    secure = {"Protocol": "HTTPS", "LoadBalancerPort": 8098, "InstancePort": 81, "SSLCertificateId": certificate}
    elb.create_load_balancer_listeners(Listeners=[secure], **name)
    elb.set_load_balancer_listener_ssl_certificate(LoadBalancerPort=8098, SSLCertificateId=certificate, **name)
    elb.delete_load_balancer_listeners(LoadBalancerPorts=[8098], **name)
    elb.create_app_cookie_stickiness_policy(PolicyName="cookie", CookieName="JSESSION", **name)
    proxied = [{"AttributeName": "ProxyProtocol", "AttributeValue": "true"}]
    elb.create_load_balancer_policy(PolicyName="proxied", PolicyTypeName="ProxyProtocolPolicyType", PolicyAttributes=proxied, **name)
    elb.set_load_balancer_policies_for_backend_server(InstancePort=80, PolicyNames=["proxied"], **name)
    elb.set_load_balancer_policies_for_backend_server(InstancePort=80, PolicyNames=[], **name)
    known = [policy["PolicyName"] for policy in elb.describe_load_balancer_policies(**name)["PolicyDescriptions"]]
    assert {"cookie", "proxied"} <= set(known), known
    for policy in ("cookie", "proxied"):
        elb.delete_load_balancer_policy(PolicyName=policy, **name)
    assert elb.describe_load_balancer_policy_types()["PolicyTypeDescriptions"]
    assert elb.describe_account_limits()["Limits"]
    members = [{"InstanceId": instance} for instance in in_service()]
    elb.deregister_instances_from_load_balancer(Instances=members[:1], **name)
    elb.register_instances_with_load_balancer(Instances=members[:1], **name)
    elb.remove_tags(LoadBalancerNames=["walk"], Tags=[{"Key": "walk"}])
    # The only place cannot be left; to leave one where the balancer is not changes nothing.
    for leave, places in (
        (elb.disable_availability_zones_for_load_balancer, {"AvailabilityZones": ["nowhere"]}),
        (elb.detach_load_balancer_from_subnets, {"Subnets": ["subnet-00000000000000000"]}),
    ):
        leave(**places, **name)


def in_service():
    group = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["walk"])["AutoScalingGroups"][0]
    return [instance["InstanceId"] for instance in group["Instances"] if instance["LifecycleState"] == "InService"]


def the_rest_of_autoscaling():
    autoscaling, ec2 = client("autoscaling"), client("ec2")
    for describe in (
        "account_limits adjustment_types auto_scaling_instances auto_scaling_notification_types launch_configurations "
        "lifecycle_hook_types metric_collection_types notification_configurations policies scaling_process_types tags "
        "termination_policy_types"
    ).split():
        getattr(autoscaling, f"describe_{describe}")()
    name = {"AutoScalingGroupName": "walk"}
    assert autoscaling.describe_load_balancers(**name)["LoadBalancers"][0]["LoadBalancerName"] == "walk"
    autoscaling.detach_load_balancers(LoadBalancerNames=["walk"], **name)
    until("the balancer is detached", lambda: not autoscaling.describe_load_balancers(**name)["LoadBalancers"])
    balancer = [{"Identifier": "walk", "Type": "elb"}]
    autoscaling.attach_traffic_sources(TrafficSources=balancer, **name)
    assert autoscaling.describe_traffic_sources(**name)["TrafficSources"][0]["Identifier"] == "walk"
    autoscaling.detach_traffic_sources(TrafficSources=balancer, **name)
    until("the source is detached", lambda: not autoscaling.describe_traffic_sources(**name)["TrafficSources"])
    autoscaling.attach_load_balancers(LoadBalancerNames=["walk"], **name)
    assert autoscaling.describe_load_balancer_target_groups(**name)["LoadBalancerTargetGroups"] == []
    assert autoscaling.describe_warm_pool(**name)["Instances"] == []
    refused("UnsupportedOperation", autoscaling.put_warm_pool, **name)
    refused("ValidationError", autoscaling.delete_warm_pool, **name)
    tag = {"ResourceId": "walk", "ResourceType": "auto-scaling-group", "Key": "rest"}
    autoscaling.create_or_update_tags(Tags=[tag | {"Value": "yes", "PropagateAtLaunch": False}])
    autoscaling.delete_tags(Tags=[tag])
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    action = {"ScheduledActionName": "morning", "StartTime": start, "DesiredCapacity": 1}
    done = autoscaling.batch_put_scheduled_update_group_action(ScheduledUpdateGroupActions=[action], **name)
    assert done["FailedScheduledUpdateGroupActions"] == [], done
    autoscaling.batch_delete_scheduled_action(ScheduledActionNames=["morning"], **name)
    autoscaling.disable_metrics_collection(**name)
    autoscaling.update_auto_scaling_group(MaxSize=6, **name)
    first = in_service()[0]
    autoscaling.set_instance_health(InstanceId=first, HealthStatus="Healthy")
    for protected in (True, False):
        autoscaling.set_instance_protection(InstanceIds=[first], ProtectedFromScaleIn=protected, **name)
    autoscaling.detach_instances(InstanceIds=[first], ShouldDecrementDesiredCapacity=True, **name)
    until("the member has left", lambda: not autoscaling.describe_auto_scaling_instances(InstanceIds=[first])["AutoScalingInstances"])
    autoscaling.attach_instances(InstanceIds=[first], **name)
    until("the member is back", lambda: first in in_service())
    autoscaling.put_lifecycle_hook(
        LifecycleHookName="rest", LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", HeartbeatTimeout=600, **name
    )
    assert autoscaling.describe_lifecycle_hooks(**name)["LifecycleHooks"][0]["HeartbeatTimeout"] == 600
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=True)

    def state():
        known = autoscaling.describe_auto_scaling_instances(InstanceIds=[first])["AutoScalingInstances"]
        return known[0]["LifecycleState"] if known else "gone"

    until("the member waits for its hook", lambda: state() == "Terminating:Wait")
    hook = {"LifecycleHookName": "rest", "InstanceId": first}
    autoscaling.record_lifecycle_action_heartbeat(**hook, **name)
    autoscaling.complete_lifecycle_action(LifecycleActionResult="CONTINUE", **hook, **name)
    autoscaling.delete_lifecycle_hook(LifecycleHookName="rest", **name)
    until("the member is gone", lambda: state() == "gone")

    image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"]
    for number, kind in enumerate(("t3.micro", "t3.small"), 1):
        data = {"LaunchTemplateData": {"ImageId": image, "InstanceType": kind}, "LaunchTemplateName": "refresh"}
        ec2.create_launch_template(**data) if number == 1 else ec2.create_launch_template_version(**data)
    template = {"LaunchTemplateName": "refresh", "Version": "1"}
    autoscaling.update_auto_scaling_group(LaunchTemplate=template, **name)
    second = {"LaunchTemplate": template | {"Version": "2"}}
    # The first is cancelled once what it has begun is done; the second is still under way, and warms up.
    start = {"DesiredConfiguration": second, "Preferences": {"InstanceWarmup": 0}}
    slow = start | {"Preferences": {"InstanceWarmup": 600, "SkipMatching": False}}

    def status():
        return autoscaling.describe_instance_refreshes(**name)["InstanceRefreshes"][0]["Status"]

    autoscaling.start_instance_refresh(**start, **name)
    autoscaling.cancel_instance_refresh(**name)
    until("the refresh is cancelled", lambda: status() == "Cancelled")
    autoscaling.start_instance_refresh(**slow, **name)
    autoscaling.rollback_instance_refresh(**name)
    until("the refresh is taken back", lambda: status().startswith("Rollback"))
    ec2.delete_launch_template(LaunchTemplateName="refresh")


def the_rest_of_cloudwatch():
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="rest",
        Namespace="Rest",
        MetricName="Steps",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.put_composite_alarm(AlarmName="all", AlarmRule='ALARM("rest")')
    for_metric = cloudwatch.describe_alarms_for_metric(Namespace="Rest", MetricName="Steps")["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in for_metric] == ["rest"], for_metric
    arn = {"ResourceARN": for_metric[0]["AlarmArn"]}
    cloudwatch.tag_resource(Tags=[{"Key": "a", "Value": "b"}], **arn)
    assert cloudwatch.list_tags_for_resource(**arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    cloudwatch.untag_resource(TagKeys=["a"], **arn)
    cloudwatch.disable_alarm_actions(AlarmNames=["rest"])
    cloudwatch.enable_alarm_actions(AlarmNames=["rest"])
    for name in ("all", "rest"):
        cloudwatch.delete_alarms(AlarmNames=[name])


def document(*actions, **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), **more}]})


def tagged(iam, kind, **name):
    """Tags a thing of IAM, looks, and takes the tags away."""
    getattr(iam, f"tag_{kind}")(Tags=[{"Key": "a", "Value": "b"}], **name)
    assert getattr(iam, f"list_{kind}_tags")(**name)["Tags"] == [{"Key": "a", "Value": "b"}]
    getattr(iam, f"untag_{kind}")(TagKeys=["a"], **name)


def the_rest_of_iam():
    iam = client("iam")
    body, key = os.environ["WALK_CERTIFICATE"].split("-----BEGIN PRIVATE KEY", 1)
    key = f"-----BEGIN PRIVATE KEY{key}"
    uploaded = iam.upload_server_certificate(ServerCertificateName="rest", CertificateBody=body, PrivateKey=key)
    certificate = {"ServerCertificateName": "rest"}
    tagged(iam, "server_certificate", **certificate)
    assert iam.get_server_certificate(**certificate)["ServerCertificate"]["CertificateBody"].strip() == body.strip()
    assert iam.list_server_certificates()["ServerCertificateMetadataList"]
    the_rest_of_elb(uploaded["ServerCertificateMetadata"]["Arn"])
    iam.update_server_certificate(NewServerCertificateName="renamed", **certificate)
    iam.delete_server_certificate(ServerCertificateName="renamed")

    for describe in "get_account_authorization_details get_account_summary list_groups list_policies list_roles list_users".split():
        getattr(iam, describe)()
    iam.create_account_alias(AccountAlias="walkers")
    assert iam.list_account_aliases()["AccountAliases"] == ["walkers"]
    iam.delete_account_alias(AccountAlias="walkers")
    allow = document("ec2:Describe*", Resource="*")
    policy = {"PolicyArn": iam.create_policy(PolicyName="rest", PolicyDocument=allow)["Policy"]["Arn"]}
    tagged(iam, "policy", **policy)
    iam.create_policy_version(PolicyDocument=document("ec2:*", Resource="*"), **policy)
    assert len(iam.list_policy_versions(**policy)["Versions"]) == 2
    assert iam.get_policy_version(VersionId="v2", **policy)["PolicyVersion"]["IsDefaultVersion"] is False
    iam.set_default_policy_version(VersionId="v2", **policy)
    iam.delete_policy_version(VersionId="v1", **policy)
    assert iam.get_policy(**policy)["Policy"]["DefaultVersionId"] == "v2"

    iam.create_user(UserName="rest")
    iam.create_group(GroupName="rest")
    iam.create_role(RoleName="rest", AssumeRolePolicyDocument=document("sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"}))
    iam.create_instance_profile(InstanceProfileName="rest")
    iam.add_user_to_group(GroupName="rest", UserName="rest")
    for kind in ("user", "group", "role"):
        name = {f"{kind.capitalize()}Name": "rest"}
        getattr(iam, f"put_{kind}_policy")(PolicyName="inline", PolicyDocument=allow, **name)
        assert getattr(iam, f"list_{kind}_policies")(**name)["PolicyNames"] == ["inline"]
        assert getattr(iam, f"get_{kind}_policy")(PolicyName="inline", **name)["PolicyName"] == "inline"
        getattr(iam, f"delete_{kind}_policy")(PolicyName="inline", **name)
        getattr(iam, f"attach_{kind}_policy")(**policy, **name)
        assert getattr(iam, f"list_attached_{kind}_policies")(**name)["AttachedPolicies"][0]["PolicyName"] == "rest"
        assert getattr(iam, f"get_{kind}")(**name)
        assert iam.list_entities_for_policy(EntityFilter=kind.capitalize(), **policy)
        getattr(iam, f"detach_{kind}_policy")(**policy, **name)
    for kind in ("user", "role"):
        tagged(iam, kind, **{f"{kind.capitalize()}Name": "rest"})
    tagged(iam, "instance_profile", InstanceProfileName="rest")
    assert iam.list_groups_for_user(UserName="rest")["Groups"][0]["GroupName"] == "rest"
    key = iam.create_access_key(UserName="rest")["AccessKey"]["AccessKeyId"]
    assert iam.list_access_keys(UserName="rest")["AccessKeyMetadata"][0]["AccessKeyId"] == key
    assert iam.get_access_key_last_used(AccessKeyId=key)["UserName"] == "rest"
    client("sts").get_access_key_info(AccessKeyId=key)
    arn = iam.get_user(UserName="rest")["User"]["Arn"]
    decided = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["ec2:RunInstances"])["EvaluationResults"]
    assert decided[0]["EvalDecision"] == "implicitDeny", decided
    decided = iam.simulate_custom_policy(PolicyInputList=[allow], ActionNames=["ec2:DescribeTags"])["EvaluationResults"]
    assert decided[0]["EvalDecision"] == "allowed", decided
    iam.delete_access_key(UserName="rest", AccessKeyId=key)
    iam.remove_user_from_group(GroupName="rest", UserName="rest")
    iam.update_user(UserName="rest", NewUserName="renamed")
    iam.update_group(GroupName="rest", NewGroupName="renamed")
    iam.update_role(RoleName="rest", MaxSessionDuration=7200)
    iam.update_role_description(RoleName="rest", Description="the rest")
    iam.update_assume_role_policy(
        RoleName="rest", PolicyDocument=document("sts:AssumeRole", Principal={"Service": "autoscaling.amazonaws.com"})
    )
    profile = {"InstanceProfileName": "rest"}
    iam.add_role_to_instance_profile(RoleName="rest", **profile)
    assert iam.get_instance_profile(**profile)["InstanceProfile"]["Roles"][0]["RoleName"] == "rest"
    assert iam.list_instance_profiles()["InstanceProfiles"]
    assert iam.list_instance_profiles_for_role(RoleName="rest")["InstanceProfiles"]
    iam.remove_role_from_instance_profile(RoleName="rest", **profile)
    iam.delete_instance_profile(**profile)
    iam.delete_role(RoleName="rest")
    iam.delete_policy(**policy)


def the_rest_of_sts():
    iam = client("iam")
    iam.put_user_policy(UserName="renamed", PolicyName="all", PolicyDocument=document("*", Resource="*"))
    key = iam.create_access_key(UserName="renamed")["AccessKey"]
    sts = client("sts", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert sts.get_session_token()["Credentials"]["SessionToken"]
    federated = sts.get_federation_token(Name="guest", Policy=document("ec2:Describe*", Resource="*"))
    assert federated["FederatedUser"]["Arn"].endswith(":federated-user/guest")
    iam.delete_access_key(UserName="renamed", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="renamed", PolicyName="all")
    iam.delete_user(UserName="renamed")
    iam.delete_group(GroupName="renamed")


def main():
    account = walk.walk_sts()
    walk.walk_ec2()
    the_rest_of_ec2()
    walk.walk_elb()
    walk.walk_autoscaling()
    walk.walk_cloudwatch()
    the_rest_of_cloudwatch()
    walk.walk_iam(account)
    the_rest_of_iam()
    the_rest_of_sts()
    the_rest_of_autoscaling()
    walk.leave()
    wanted = {(service, action) for service, actions in ACTIONS.items() for action in actions} - REFUSED
    missing = sorted(f"{service}:{action}" for service, action in wanted - SUCCEEDED)
    print(f"no call succeeded: {' '.join(missing)}" if missing else "walked")


main()
