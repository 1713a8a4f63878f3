"""What a group does, as boto3 asks for it and reads it. Prints `done`."""

import datetime
import os
import time

import boto3
import botocore.exceptions
from botocore.config import Config

config = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)
asg = boto3.client("autoscaling", endpoint_url=os.environ["CLOUD_URL"] + "/services/" + "AutoScaling", config=config)
WEB = {"AutoScalingGroupName": "web"}


def refused(code, action, **parameters):
    try:
        action(**parameters)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"not refused: {parameters}")


def until(what, so):
    deadline = time.monotonic() + 20
    while not so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def states():
    return sorted(one["LifecycleState"] for one in asg.describe_auto_scaling_instances()["AutoScalingInstances"])


until("in service", lambda: states() == ["InService", "InService"])
first, second = [one["InstanceId"] for one in asg.describe_auto_scaling_instances()["AutoScalingInstances"]]
group = asg.describe_auto_scaling_groups()["AutoScalingGroups"][0]
assert group["TrafficSources"] == [{"Identifier": "lb", "Type": "elb"}], group
assert group["CapacityRebalance"] is False and "MaxInstanceLifetime" not in group, group

policy = asg.put_scaling_policy(
    **WEB, PolicyName="steps", PolicyType="StepScaling", AdjustmentType="PercentChangeInCapacity",
    MinAdjustmentMagnitude=1, MetricAggregationType="Maximum",
    StepAdjustments=[
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 7.5, "ScalingAdjustment": 10},
        {"MetricIntervalLowerBound": 7.5, "ScalingAdjustment": 50},
    ],
)
assert policy["Alarms"] == [], policy
target = asg.put_scaling_policy(
    **WEB, PolicyName="target", PolicyType="TargetTrackingScaling", EstimatedInstanceWarmup=30,
    TargetTrackingConfiguration={
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageNetworkIn"}, "TargetValue": 1e6,
    },
)
assert len(target["Alarms"]) == 2 and target["Alarms"][0]["AlarmARN"].startswith("arn:aws:cloudwatch:"), target
steps, tracking = asg.describe_policies(**WEB)["ScalingPolicies"]
assert steps["StepAdjustments"][0]["MetricIntervalUpperBound"] == 7.5, steps
assert "MetricIntervalUpperBound" not in steps["StepAdjustments"][1], steps
assert tracking["TargetTrackingConfiguration"]["TargetValue"] == 1e6, tracking
assert tracking["TargetTrackingConfiguration"]["DisableScaleIn"] is False, tracking

asg.put_lifecycle_hook(
    **WEB, LifecycleHookName="prepare", LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING",
    HeartbeatTimeout=300, DefaultResult="CONTINUE", NotificationMetadata="m",
)
hook = asg.describe_lifecycle_hooks(**WEB)["LifecycleHooks"][0]
assert (hook["HeartbeatTimeout"], hook["GlobalTimeout"], hook["DefaultResult"]) == (300, 30000, "CONTINUE"), hook
activity = asg.enter_standby(**WEB, InstanceIds=[first], ShouldDecrementDesiredCapacity=True)["Activities"][0]
assert activity["StatusCode"] == "InProgress" and activity["Progress"] == 50, activity
until("in standby", lambda: states() == ["InService", "Standby"])
assert asg.exit_standby(**WEB, InstanceIds=[first])["Activities"][0]["StatusCode"] == "PreInService"
until("held by the hook", lambda: states() == ["InService", "Pending:Wait"])
waiting = {**WEB, "LifecycleHookName": "prepare", "InstanceId": first}
asg.record_lifecycle_action_heartbeat(**waiting)
asg.complete_lifecycle_action(**waiting, LifecycleActionResult="CONTINUE")
until("back in service", lambda: states() == ["InService", "InService"])
refused("ValidationError", asg.complete_lifecycle_action, **waiting, LifecycleActionResult="CONTINUE")
asg.delete_lifecycle_hook(**WEB, LifecycleHookName="prepare")

assert asg.detach_instances(**WEB, InstanceIds=[second], ShouldDecrementDesiredCapacity=True)["Activities"]
until("detached", lambda: states() == ["InService"])
asg.attach_instances(**WEB, InstanceIds=[second])
until("attached", lambda: states() == ["InService", "InService"])

soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
asg.put_scheduled_update_group_action(**WEB, ScheduledActionName="soon", StartTime=soon, DesiredCapacity=3)
asg.put_scheduled_update_group_action(
    **WEB, ScheduledActionName="nightly", Recurrence="0 1 * * *", TimeZone="America/New_York", MinSize=1,
)
nightly, once = asg.describe_scheduled_actions(**WEB)["ScheduledUpdateGroupActions"]
assert nightly["TimeZone"] == "America/New_York" and nightly["StartTime"].minute == 0, nightly
assert abs((once["StartTime"] - soon).total_seconds()) < 1 and once["DesiredCapacity"] == 3, once
until("the scheduled action has come", lambda: states() == ["InService"] * 3)
assert [one["ScheduledActionName"] for one in asg.describe_scheduled_actions(**WEB)["ScheduledUpdateGroupActions"]] == ["nightly"]

before = {one["InstanceId"] for one in asg.describe_auto_scaling_instances()["AutoScalingInstances"]}
refresh = asg.start_instance_refresh(
    **WEB, Preferences={"MinHealthyPercentage": 50, "InstanceWarmup": 0, "SkipMatching": False},
)["InstanceRefreshId"]
refused("InstanceRefreshInProgress", asg.start_instance_refresh, **WEB)


def described():
    return asg.describe_instance_refreshes(**WEB, InstanceRefreshIds=[refresh])["InstanceRefreshes"][0]


until("refreshed", lambda: described()["Status"] == "Successful")
assert described()["PercentageComplete"] == 100 and described()["InstancesToUpdate"] == 0, described()
assert described()["Preferences"]["MinHealthyPercentage"] == 50, described()
until("three again", lambda: states() == ["InService"] * 3)
after = {one["InstanceId"] for one in asg.describe_auto_scaling_instances()["AutoScalingInstances"]}
assert not before & after, (before, after)

assert asg.describe_warm_pool(**WEB)["Instances"] == []
assert asg.describe_traffic_sources(**WEB)["TrafficSources"][0]["State"] in ("Adding", "Added", "InService")
assert len(asg.describe_auto_scaling_notification_types()["AutoScalingNotificationTypes"]) == 5
assert len(asg.describe_lifecycle_hook_types()["LifecycleHookTypes"]) == 2
assert len(asg.describe_scaling_activities(**WEB)["Activities"]) > 10
asg.delete_auto_scaling_group(**WEB, ForceDelete=True)
until("gone", lambda: asg.describe_auto_scaling_groups()["AutoScalingGroups"] == [])
print("done")
