"""Metrics by boto3, over each protocol that botocore knows for CloudWatch. Prints `done`."""

import datetime
import os

import boto3
import botocore.exceptions
import botocore.session
from botocore.config import Config

now = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0)
start = now - datetime.timedelta(minutes=10)
sent = []


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
    made = boto3.Session(botocore_session=session).client(
        "cloudwatch",
        endpoint_url=os.environ["AWS_CLOUDWATCH_URL"],
        config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )
    made.meta.events.register("before-send.cloudwatch.PutMetricData", lambda request, **_: sent.append(request.headers))
    return made


def refused(code, said, action, **parameters):
    try:
        action(**parameters)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert said in error.response["Error"]["Message"], error
        return
    raise AssertionError(f"not refused: {parameters}")


supported = [p for p in ("smithy-rpc-v2-cbor", "json", "query") if p in botocore.session.get_session().get_service_model("cloudwatch").metadata.get("protocols", ["query"])]
for protocol in supported:
    cloudwatch = client(protocol)
    namespace = f"App/{protocol}"
    dimensions = [{"Name": "Host", "Value": "h1"}]
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": "Latency", "Dimensions": dimensions, "Timestamp": start + datetime.timedelta(seconds=s), "Value": float(v), "Unit": "Seconds", "StorageResolution": 1}
            for s, v in ((0, 1), (10, 2), (60, 4))
        ]
        + [{"MetricName": "Sizes", "Timestamp": start, "Values": [1.0, 2.5], "Counts": [98.0, 2.0]}],
    )
    assert "gzip" not in str(sent[-1].get("Content-Encoding")), protocol
    # Large enough for the client to compress it.
    many = [{"MetricName": f"Many{index}", "Timestamp": start, "Value": 1.0, "Dimensions": dimensions} for index in range(600)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=many)
    assert "gzip" in str(sent[-1].get("Content-Encoding")), protocol

    listed = [m for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace) for m in page["Metrics"]]
    assert len(listed) == 602, (protocol, len(listed))
    assert {"Namespace": namespace, "MetricName": "Latency", "Dimensions": dimensions} in listed
    assert len(cloudwatch.list_metrics(Namespace=namespace, MetricName="Latency", RecentlyActive="PT3H")["Metrics"]) == 1

    got = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Latency", Dimensions=dimensions, StartTime=start, EndTime=now, Period=60, Statistics=["Average", "Sum"]
    )
    assert got["Label"] == "Latency"
    assert got["Datapoints"] == [
        {"Timestamp": start, "Average": 1.5, "Sum": 3.0, "Unit": "Seconds"},
        {"Timestamp": start + datetime.timedelta(minutes=1), "Average": 4.0, "Sum": 4.0, "Unit": "Seconds"},
    ], got["Datapoints"]
    got = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Sizes", StartTime=start, EndTime=now, Period=60, ExtendedStatistics=["p50", "p99"]
    )
    assert got["Datapoints"][0]["ExtendedStatistics"] == {"p50": 1.0, "p99": 2.5}, got["Datapoints"]

    stat = {"Metric": {"Namespace": namespace, "MetricName": "Latency", "Dimensions": dimensions}, "Period": 60, "Stat": "Sum"}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[
            {"Id": "m1", "MetricStat": stat, "ReturnData": False},
            {"Id": "e1", "Expression": "m1 * 10", "Label": "tenfold"},
            {"Id": "e2", "Expression": "FILL(m1, 0)"},
        ],
        StartTime=start,
        EndTime=now,
        ScanBy="TimestampAscending",
        MaxDatapoints=5,
    )
    values, labels = {}, {}
    for page in pages:
        for result in page["MetricDataResults"]:
            values.setdefault(result["Id"], []).extend(zip(result["Timestamps"], result["Values"]))
            labels[result["Id"]] = result["Label"]
    assert [value for _, value in values["e1"]] == [30.0, 40.0], values
    assert values["e1"][0][0] == start, values
    assert [value for _, value in values["e2"]] == [3.0, 4.0] + [0.0] * 8, values
    assert labels == {"e1": "tenfold", "e2": "e2"}, labels

    refused("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.", cloudwatch.put_metric_data, Namespace="AWS/EC2", MetricData=many[:1])
    if protocol == "smithy-rpc-v2-cbor":
        bad = [{"MetricName": "Latency", "Value": float("nan")}]
        refused("InvalidParameterValue", "The value NaN for parameter MetricData.member.1.Value is invalid.", cloudwatch.put_metric_data, Namespace="App", MetricData=bad)
    refused("ValidationError", "Error in expression 'e1'", cloudwatch.get_metric_data, MetricDataQueries=[{"Id": "e1", "Expression": "m1 +"}], StartTime=start, EndTime=now)

assert supported[0] == "smithy-rpc-v2-cbor" or len(supported) == 1
print("done")
