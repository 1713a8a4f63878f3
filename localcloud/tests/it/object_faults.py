"""Faults of S3 as a client meets them, by boto3. Called by object_faults.rs: ENDPOINT (http://127.0.0.1:PORT) KEY SECRET
ADMIN_SOCKET. Each function is a claim; the last line printed is `ok`."""

import http.client
import json
import socket
import sys
import time
import urllib.error
import urllib.request

import boto3
import botocore
from botocore.client import Config

ENDPOINT, KEY, SECRET, ADMIN = sys.argv[1:]
CLOSED = (botocore.exceptions.ConnectionClosedError, botocore.exceptions.HTTPClientError)


class Admin(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(ADMIN)


def admin(method, path, body=None):
    connection = Admin("localcloud")
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def plan(*faults):
    """Each `action effect key=value…`."""
    lines = []
    for fault in faults:
        action, effect, *more = fault.split()
        lines += ["[[fault]]", f"action = '{action}'", f"effect = '{effect}'", *more]
    status, said = admin("PUT", "/faults", "\n".join(lines))
    assert status == 204, said


def calls(after=0):
    status, text = admin("GET", f"/calls?s3_after={after}")
    assert status == 200, text
    return json.loads(text)["s3"]


def client(attempts=1, **config):
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT + "/services/objectstorage/",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="localcloud",
        config=Config(
            s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": attempts}, **config
        ),
    )


s3 = client()


def refused(code, call, **named):
    try:
        call(**named)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] in code.split(), error
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call} {named} was not refused with {code}")


def dropped(call, **named):
    try:
        call(**named)
    except CLOSED:
        return
    raise AssertionError(f"{call} {named} was answered")


def keys(bucket):
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def refusals_come_in_s3s_own_words_and_change_nothing():
    for effect, code, status in [
        ("throttle", "SlowDown", 503),
        ("internal-error", "InternalError", 500),
        ("unavailable", "ServiceUnavailable", 503),
        ("expired-token", "ExpiredToken", 400),
    ]:
        plan(f"s3.* {effect}")
        assert refused(code, s3.put_object, Bucket="bucket", Key="refused", Body=b"x") == status
        # An answer to HEAD has no words; after a 400 boto3 looks for the bucket in other regions.
        if status != 400:
            assert refused(str(status), s3.head_bucket, Bucket="bucket") == status
    plan("* insufficient-capacity")
    s3.put_object(Bucket="bucket", Key="sold out", Body=b"x")
    admin("DELETE", "/faults")
    assert keys("bucket") == ["sold out"]
    s3.delete_object(Bucket="bucket", Key="sold out")


def a_dependency_keeps_a_bucket_and_nothing_else():
    s3.create_bucket(Bucket="empty")
    plan("* dependency-violation")
    s3.put_object(Bucket="bucket", Key="x", Body=b"x")
    s3.delete_object(Bucket="bucket", Key="x")
    assert refused("BucketNotEmpty", s3.delete_bucket, Bucket="empty") == 409
    plan()
    s3.delete_bucket(Bucket="empty")


def the_nth_call_is_dropped_before_its_effect_or_after_it():
    plan("s3.PutObject drop-before nth=1", "s3.PutObject drop-after nth=2")
    large = b"x" * 20_000_000
    for key, body in [("before", b"small"), ("after", large)]:
        dropped(s3.put_object, Bucket="bucket", Key=key, Body=body)
    assert keys("bucket") == ["after"]
    s3.put_object(Bucket="bucket", Key="third", Body=b"x")
    assert s3.head_object(Bucket="bucket", Key="after")["ContentLength"] == len(large)
    plan("s3.PutObject drop-before nth=1", "s3.GetObject drop-after first=1")
    dropped(s3.put_object, Bucket="bucket", Key="large", Body=large)
    dropped(s3.get_object, Bucket="bucket", Key="third")
    assert s3.get_object(Bucket="bucket", Key="third")["Body"].read() == b"x"
    assert keys("bucket") == ["after", "third"]
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    plan("CompleteMultipartUpload drop-after")
    dropped(s3.complete_multipart_upload, Bucket="bucket", Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket="bucket", Key="parts")["Body"].read() == b"part"
    for key in ["after", "third", "parts"]:
        s3.delete_object(Bucket="bucket", Key=key)


def a_client_that_tries_again_gets_through():
    plan("s3.PutObject throttle first=1", "s3.PutObject drop-after nth=2", "s3.PutObject unavailable nth=3")
    before = calls()["total"]
    client(attempts=5).put_object(Bucket="bucket", Key="again", Body=b"x" * 3_000_000)
    told = [(call["action"], call.get("faults", []), call["outcome"]) for call in calls(before)["calls"]]
    assert told == [
        ("PutObject", ["throttle"], "SlowDown"),
        ("PutObject", ["drop-after"], "OK"),
        ("PutObject", ["unavailable"], "ServiceUnavailable"),
        ("PutObject", [], "OK"),
    ], told
    s3.delete_object(Bucket="bucket", Key="again")


def a_delay_lasts_as_long_as_it_says():
    plan("s3.ListBuckets delay milliseconds=300")
    start = time.monotonic()
    s3.list_buckets()
    assert time.monotonic() - start >= 0.3


def a_new_object_is_seen_late_and_a_replaced_one_at_once():
    plan("s3.PutObject hide calls=3")
    s3.put_object(Bucket="bucket", Key="a/new", Body=b"new")
    assert refused("NoSuchKey", s3.get_object, Bucket="bucket", Key="a/new") == 404
    assert keys("bucket") == []
    source = {"Bucket": "bucket", "Key": "a/new"}
    assert refused("NoSuchKey", s3.copy_object, Bucket="bucket", Key="copy", CopySource=source) == 404
    assert keys("bucket") == ["a/new"], "three looks were enough"
    s3.put_object(Bucket="bucket", Key="a/new", Body=b"newer")
    assert s3.get_object(Bucket="bucket", Key="a/new")["Body"].read() == b"newer"
    s3.delete_object(Bucket="bucket", Key="a/new")
    plan("s3.CopyObject hide seconds=600", "s3.CompleteMultipartUpload hide seconds=600")
    s3.put_object(Bucket="bucket", Key="source", Body=b"x")
    s3.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "source"})
    assert refused("404", s3.head_object, Bucket="bucket", Key="copy") == 404
    assert keys("bucket") == ["source"]
    assert s3.list_objects(Bucket="bucket", Prefix="c").get("Contents") is None
    assert admin("DELETE", "/faults")[0] == 204
    assert keys("bucket") == ["copy", "source"], "nothing stays hidden"
    for key in ["copy", "source"]:
        s3.delete_object(Bucket="bucket", Key=key)


def a_new_bucket_is_seen_late():
    plan("s3.CreateBucket hide calls=3")
    s3.create_bucket(Bucket="late")
    names = lambda: [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert refused("404", s3.head_bucket, Bucket="late") == 404
    assert refused("NoSuchBucket", s3.put_object, Bucket="late", Key="x", Body=b"x") == 404
    assert names() == ["bucket"]
    assert refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="late") == 409
    assert names() == ["bucket", "late"]
    s3.delete_bucket(Bucket="late")


def calls_are_counted_signed_or_presigned_or_by_nobody_and_not_those_of_a_wrong_signature():
    plan()
    assert admin("DELETE", "/calls")[0] == 204
    answer = s3.put_object(Bucket="bucket", Key="counted", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "counted"})
    assert urllib.request.urlopen(url).read() == b"x"
    for unsigned in [ENDPOINT + "/services/objectstorage/bucket/counted", url[:-1] + ("0" if url[-1] != "0" else "1")]:
        try:
            urllib.request.urlopen(unsigned)
            raise AssertionError(unsigned)
        except urllib.error.HTTPError as error:
            assert error.code == 403, error
    assert refused("NoSuchKey", s3.get_object, Bucket="bucket", Key="none") == 404
    refused("NotImplemented", s3.put_bucket_acl, Bucket="bucket", ACL="private")
    s3.delete_object(Bucket="bucket", Key="counted")
    told = calls()
    assert [(call["number"], call["service"], call["action"], call["outcome"]) for call in told["calls"]] == [
        (1, "s3", "PutObject", "OK"),
        (2, "s3", "GetObject", "OK"),
        (3, "s3", "GetObject", "AccessDenied"),
        (4, "s3", "GetObject", "NoSuchKey"),
        (5, "s3", "PutBucketAcl", "NotImplemented"),
        (6, "s3", "DeleteObject", "OK"),
    ], told
    assert told["total"] == 6
    assert told["calls"][0]["request_id"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert [call["number"] for call in calls(after=5)["calls"]] == [6]


def a_plan_knows_what_s3_does():
    for action, effect, said in [
        ("s3.PutObjet", "throttle", "no action has this name"),
        ("s3.PutObject", "dependency-violation", "knows nothing of the kind"),
        ("s3.*", "insufficient-capacity", "knows nothing of the kind"),
        ("s3.GetObject", "hide'\ncalls = 2 #", "knows nothing of the kind"),
    ]:
        status, text = admin("PUT", "/faults", f"[[fault]]\naction = '{action}'\neffect = '{effect}'")
        assert status == 400 and said in text, (status, text)


s3.create_bucket(Bucket="bucket")
for claim in [
    refusals_come_in_s3s_own_words_and_change_nothing,
    a_dependency_keeps_a_bucket_and_nothing_else,
    the_nth_call_is_dropped_before_its_effect_or_after_it,
    a_client_that_tries_again_gets_through,
    a_delay_lasts_as_long_as_it_says,
    a_new_object_is_seen_late_and_a_replaced_one_at_once,
    a_new_bucket_is_seen_late,
    calls_are_counted_signed_or_presigned_or_by_nobody_and_not_those_of_a_wrong_signature,
    a_plan_knows_what_s3_does,
]:
    print(claim.__name__, flush=True)
    claim()
s3.delete_bucket(Bucket="bucket")
print("ok")
