"""Alarms by boto3, over each protocol that botocore knows for CloudWatch. Prints `done`."""

import datetime
import json
import os
import time

import boto3
import botocore.exceptions
import botocore.session

SNS = "arn:aws:sns:localcloud:000000000001:mail"


def client(protocol):
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def only(service, kind, api_version=None):
        model = load(service, kind, api_version)
        if kind == "service-2":
            model["metadata"] = {**model["metadata"], "protocol": protocol, "protocols": [protocol]}
        return model

    loader.load_service_model = only
    url = os.environ["CLOUD_URL"] + "/services/CloudWatch"
    return boto3.Session(botocore_session=session).client("cloudwatch", endpoint_url=url)


def until(state, cloudwatch, name):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alarm = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
        if alarm["StateValue"] == state:
            return alarm
        time.sleep(0.05)
    raise AssertionError(f"{name} is not {state}: {alarm}")


for protocol in ["query", "json", "smithy-rpc-v2-cbor"]:
    cloudwatch = client(protocol)
    name = f"busy-{protocol}"
    metric = {"MetricName": "Load", "Namespace": "App", "Dimensions": [{"Name": "By", "Value": protocol}]}
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmActions=[SNS],
        Period=10,
        EvaluationPeriods=2,
        DatapointsToAlarm=1,
        Statistic="Maximum",
        Threshold=70.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        Tags=[{"Key": "stack", "Value": "s"}],
        **metric,
    )
    alarm = until("OK", cloudwatch, name)
    assert "treated as [NonBreaching]" in alarm["StateReason"], alarm
    # Within the evaluation range, however long this takes.
    now = datetime.datetime.now(datetime.timezone.utc)
    data = [
        {
            "MetricName": "Load",
            "Dimensions": metric["Dimensions"],
            "Timestamp": now + datetime.timedelta(seconds=seconds),
            "Value": 99.5,
            "StorageResolution": 1,
        }
        for seconds in range(-30, 60, 10)
    ]
    cloudwatch.put_metric_data(Namespace="App", MetricData=data)
    alarm = until("ALARM", cloudwatch, name)
    assert isinstance(alarm["StateTransitionedTimestamp"], datetime.datetime)
    assert json.loads(alarm["StateReasonData"])["recentDatapoints"][-1] == 99.5, alarm
    assert alarm["Threshold"] == 70.0 and alarm["ActionsEnabled"] is True and alarm["AlarmActions"] == [SNS], alarm
    of_metric = cloudwatch.describe_alarms_for_metric(**metric)["MetricAlarms"]
    assert [found["AlarmName"] for found in of_metric] == [name]
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, ScanBy="TimestampAscending", PaginationConfig={"PageSize": 1}
    )
    items = [item for page in pages for item in page["AlarmHistoryItems"]]
    kinds = [item["HistoryItemType"] for item in items]
    assert kinds == ["ConfigurationUpdate", "StateUpdate", "StateUpdate", "Action"], items
    assert "no service sns" in items[3]["HistorySummary"], items[3]
    assert json.loads(items[2]["HistoryData"])["newState"]["stateValue"] == "ALARM"

    cloudwatch.put_composite_alarm(AlarmName=f"all-{protocol}", AlarmRule=f'ALARM("{name}") AND TRUE')
    deadline = time.monotonic() + 20
    while True:
        described = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"], AlarmNames=[f"all-{protocol}"])
        if described["CompositeAlarms"][0]["StateValue"] == "ALARM":
            break
        assert time.monotonic() < deadline, described
        time.sleep(0.05)
    cloudwatch.set_alarm_state(AlarmName=f"all-{protocol}", StateValue="OK", StateReason="a drill")
    try:
        cloudwatch.set_alarm_state(AlarmName="nobody", StateValue="OK", StateReason="a drill")
        raise AssertionError("nobody was set")
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceNotFound", error.response
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    cloudwatch.delete_alarms(AlarmNames=[name, f"all-{protocol}"])
    left = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm", "MetricAlarm"])
    assert left["MetricAlarms"] == [] and left["CompositeAlarms"] == [], left
print("done")
