"""S3 as clients see it, by boto3. Called by object_storage.rs: ENDPOINT (http://127.0.0.1:PORT) KEY SECRET TEMPORARY_KEY
TEMPORARY_SECRET TOKEN. Each function is a claim; the last line printed is `ok`."""

import datetime
import hashlib
import hmac
import http.client
import io
import json
import sys
import time
import urllib.parse
import urllib.request
import zlib
from base64 import b64encode

import boto3
import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials

ENDPOINT, KEY, SECRET, TEMPORARY_KEY, TEMPORARY_SECRET, TOKEN = sys.argv[1:]
PORT = urllib.parse.urlparse(ENDPOINT).port
# Names ending in .localhost are loopback, whatever the resolver says (RFC 6761).
import socket

resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: resolve(
    "127.0.0.1" if isinstance(host, str) and host.endswith(".localhost") else host, *rest, **more
)


def client(endpoint=ENDPOINT + "/services/objectstorage/", style="path", key=KEY, secret=SECRET, token=None, **config):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name="localcloud",
        config=Config(s3={"addressing_style": style}, retries={"max_attempts": 1}, **config),
    )


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] in (code if isinstance(code, tuple) else (code,)), error
        return error
    raise AssertionError(f"{call} {named} was not refused with {code}")


def every_way_to_the_endpoint(name):
    ways = {
        "prefix": client(),
        "walrus": client(ENDPOINT + "/services/Walrus/"),
        "host": client(f"http://s3.localhost:{PORT}"),
        "virtual host": client(f"http://s3.localhost:{PORT}", "virtual"),
        "no prefix": client(ENDPOINT),
        "temporary": client(key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token=TOKEN),
        "checksums when required": client(request_checksum_calculation="when_required"),
        "unsigned payload": client(f"http://s3.localhost:{PORT}"),
        "version 2": client(f"http://s3.localhost:{PORT}", signature_version="s3"),
        "version 2, virtual host": client(f"http://s3.localhost:{PORT}", "virtual", signature_version="s3"),
        "version 2, Eucalyptus' path": client(signature_version="s3"),
        "version 2, temporary": client(
            key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token=TOKEN, signature_version="s3"
        ),
    }
    for way, s3 in ways.items():
        key = f"way/{way}"
        s3.put_object(Bucket=name, Key=key, Body=way.encode())
        assert s3.get_object(Bucket=name, Key=key)["Body"].read() == way.encode(), way
        assert s3.head_object(Bucket=name, Key=key)["ContentLength"] == len(way), way
        assert key in [o["Key"] for o in s3.list_objects_v2(Bucket=name, Prefix="way/")["Contents"]], way
        assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]], way
        s3.delete_object(Bucket=name, Key=key)
        s3.delete_object(Bucket=name, Key=key)
        refused(("NoSuchKey",), s3.get_object, Bucket=name, Key=key)


def strangers_are_refused(name):
    refused("InvalidAccessKeyId", client(key="AKIANOBODY").list_buckets)
    refused("SignatureDoesNotMatch", client(secret="wrong").list_buckets)
    refused("SignatureDoesNotMatch", client(f"http://s3.localhost:{PORT}", secret="wrong").list_buckets)
    refused("InvalidToken", client(key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token="other").list_buckets)
    refused("InvalidToken", client(key=TEMPORARY_KEY, secret=TEMPORARY_SECRET).list_buckets)
    refused("ExpiredToken", client(key="ASIAEXPIRED", secret="expired", token="expired").list_buckets)
    anonymous = client(signature_version=botocore.UNSIGNED)
    refused("AccessDenied", anonymous.list_objects_v2, Bucket=name)
    refused("AccessDenied", anonymous.get_object, Bucket=name, Key="x")


def buckets(name):
    s3 = client()
    refused(("BucketAlreadyOwnedByYou",), s3.create_bucket, Bucket=name)
    other = name + "-eu"
    s3.create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert names == sorted(names) and name in names and other in names
    s3.put_object(Bucket=other, Key="a", Body=b"a")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=other)
    s3.delete_object(Bucket=other, Key="a")
    upload = s3.create_multipart_upload(Bucket=other, Key="never")
    s3.upload_part(Bucket=other, Key="never", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    s3.delete_bucket(Bucket=other)
    refused(("404", "NoSuchBucket"), s3.head_bucket, Bucket=other)
    refused("NoSuchBucket", s3.put_object, Bucket=other, Key="a", Body=b"")
    refused("NoSuchBucket", s3.delete_bucket, Bucket=other)
    s3.create_bucket(Bucket=other)
    assert "Contents" not in s3.list_objects_v2(Bucket=other)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=other)
    s3.delete_bucket(Bucket=other)


def what_a_bucket_is_told_it_tells(name):
    s3, anonymous = client(), client(signature_version=botocore.UNSIGNED)
    # There is one region, whatever was asked for.
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=name), "versioning was never switched on"

    s3.put_object(Bucket=name, Key="public/a", Body=b"a")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{name}/public/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=name)
    refused("MalformedPolicy", s3.put_bucket_policy, Bucket=name, Policy="{}")
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"]) == policy
    assert anonymous.get_object(Bucket=name, Key="public/a")["Body"].read() == b"a"

    none = "NoSuchPublicAccessBlockConfiguration"
    refused(none, s3.get_public_access_block, Bucket=name)
    asked = {"BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=asked)
    told = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert told == {"BlockPublicAcls": False, "IgnorePublicAcls": False, **asked}
    refused("AccessDenied", anonymous.get_object, Bucket=name, Key="public/a")
    refused("AccessDenied", s3.put_bucket_policy, Bucket=name, Policy=json.dumps(policy))
    s3.delete_public_access_block(Bucket=name)
    refused(none, s3.get_public_access_block, Bucket=name)
    assert anonymous.get_object(Bucket=name, Key="public/a")["Body"].read() == b"a"

    s3.delete_bucket_policy(Bucket=name)
    s3.delete_bucket_policy(Bucket=name)
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=name)
    refused("AccessDenied", anonymous.get_object, Bucket=name, Key="public/a")
    s3.delete_object(Bucket=name, Key="public/a")
    for call in (
        s3.get_bucket_location,
        s3.get_bucket_versioning,
        s3.get_bucket_policy,
        s3.delete_bucket_policy,
        s3.get_public_access_block,
    ):
        refused("NoSuchBucket", call, Bucket=name + "-none")

def attributes_are_kept(name):
    s3 = client()
    modified = datetime.datetime.now(datetime.timezone.utc)
    given = dict(
        ContentType="image/png",
        CacheControl="max-age=60",
        ContentDisposition='inline; filename="ä.png"'.encode("ascii", "ignore").decode(),
        ContentLanguage="de",
        Metadata={"maker": "us"},
    )
    put = s3.put_object(Bucket=name, Key="attributes", Body=b"0123456789", **given)
    assert put["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'
    for got in (s3.get_object(Bucket=name, Key="attributes"), s3.head_object(Bucket=name, Key="attributes")):
        for attribute, value in given.items():
            assert got[attribute] == value, (attribute, got)
        assert got["ETag"] == put["ETag"] and abs((got["LastModified"] - modified).total_seconds()) < 60
    part = s3.get_object(Bucket=name, Key="attributes", Range="bytes=2-4")
    assert part["Body"].read() == b"234" and part["ContentRange"] == "bytes 2-4/10"
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.get_object(Bucket=name, Key="attributes", Range="bytes=-3")["Body"].read() == b"789"
    refused("InvalidRange", s3.get_object, Bucket=name, Key="attributes", Range="bytes=10-")
    refused(("304", "NotModified"), s3.get_object, Bucket=name, Key="attributes", IfNoneMatch=put["ETag"])
    refused(("304", "NotModified"), s3.get_object, Bucket=name, Key="attributes", IfModifiedSince=modified + datetime.timedelta(days=1))
    refused("PreconditionFailed", s3.get_object, Bucket=name, Key="attributes", IfMatch='"other"')
    refused("PreconditionFailed", s3.put_object, Bucket=name, Key="attributes", Body=b"", IfNoneMatch="*")
    assert s3.get_object(Bucket=name, Key="attributes")["Body"].read() == b"0123456789"

    s3.copy_object(Bucket=name, Key="copy of ä", CopySource={"Bucket": name, "Key": "attributes"})
    copy = s3.get_object(Bucket=name, Key="copy of ä")
    assert copy["Body"].read() == b"0123456789" and copy["ContentType"] == "image/png" and copy["Metadata"] == {"maker": "us"}
    s3.copy_object(
        Bucket=name, Key="attributes", CopySource={"Bucket": name, "Key": "attributes"}, MetadataDirective="REPLACE", ContentType="text/x"
    )
    copy = s3.get_object(Bucket=name, Key="attributes")
    assert copy["Body"].read() == b"0123456789" and copy["ContentType"] == "text/x" and copy["Metadata"] == {}
    s3.put_object(Bucket=name, Key="plain", Body=b"")
    assert s3.get_object(Bucket=name, Key="plain")["ContentType"] == "binary/octet-stream"


def presigned_urls_open_without_further_credentials(name):
    for s3 in (
        client(),
        client(f"http://s3.localhost:{PORT}"),
        client(f"http://s3.localhost:{PORT}", "virtual"),
        client(f"http://s3.localhost:{PORT}", key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token=TOKEN),
        client(f"http://s3.localhost:{PORT}", signature_version="s3"),
        client(f"http://s3.localhost:{PORT}", "virtual", signature_version="s3"),
        client(signature_version="s3"),
        client(
            f"http://s3.localhost:{PORT}", key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token=TOKEN, signature_version="s3"
        ),
    ):
        s3.put_object(Bucket=name, Key="p/ü 1+2.png", Body=b"picture", ContentType="image/png")
        url = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "p/ü 1+2.png"}, ExpiresIn=60)
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"picture" and answer.headers["content-type"] == "image/png"
        forged = url.replace("1%2B2", "1%2B3")
        assert forged != url
        try:
            urllib.request.urlopen(forged)
            raise AssertionError("a forged URL opens")
        except urllib.error.HTTPError as error:
            assert error.code == 403, error
    s3 = client()
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": name, "Key": "p/ü 1+2.png", "ResponseContentDisposition": "attachment"}, ExpiresIn=60
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-disposition"] == "attachment"
    url = s3.generate_presigned_url("put_object", Params={"Bucket": name, "Key": "presigned put"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(url, data=b"sent", method="PUT"))
    assert s3.get_object(Bucket=name, Key="presigned put")["Body"].read() == b"sent"
    url = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "presigned put"}, ExpiresIn=1)
    time.sleep(2.1)
    try:
        urllib.request.urlopen(url)
        raise AssertionError("an expired URL opens")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error


def any_key_is_a_key_of_its_own(name):
    s3 = client()
    keys = ["a", "a/b", "a/", "a//b", "/lead", "./x", "../y", "x/../y", "sp ace", "pl+us", "per%41cent", "quo\"te'<&>", "ümlaut/日本",
            "q?s#f", "~", "k" * 1024, "deep/" * 60 + "end", ".tmp.0.internal.part", "\\back", "c*t(1)!"]
    prefix = "keys/"
    for number, key in enumerate(keys):
        s3.put_object(Bucket=name, Key=(prefix + key)[:1024], Body=str(number).encode())
    expected = {(prefix + key)[:1024]: str(number).encode() for number, key in enumerate(keys)}
    for way in (client(), client(f"http://s3.localhost:{PORT}")):
        for key, body in expected.items():
            assert way.get_object(Bucket=name, Key=key)["Body"].read() == body, key
    for pages in (s3.get_paginator("list_objects_v2"), s3.get_paginator("list_objects")):
        listed = []
        for page in pages.paginate(Bucket=name, Prefix=prefix, PaginationConfig={"PageSize": 3}):
            assert len(page.get("Contents", [])) <= 3
            listed += [o["Key"] for o in page.get("Contents", [])]
        assert listed == sorted(expected, key=lambda key: key.encode()), listed
    top = s3.list_objects_v2(Bucket=name, Prefix=prefix, Delimiter="/")
    groups = [group["Prefix"] for group in top["CommonPrefixes"]]
    assert groups == sorted({prefix + key.split("/")[0] + "/" for key in keys if "/" in key}, key=lambda key: key.encode()), groups
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=name, Prefix=prefix + "a", Delimiter="/").get("Contents", [])] == [prefix + "a"]
    assert all(o["ETag"].startswith('"') and len(o["ETag"]) == 34 for o in top["Contents"])
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in expected] + [{"Key": "keys/none"}]})
    assert len(answer["Deleted"]) == len(expected) + 1 and "Errors" not in answer
    assert "Contents" not in s3.list_objects_v2(Bucket=name, Prefix=prefix)


def wrong_checksums_leave_the_object_as_it_was(name):
    s3 = client()
    s3.put_object(Bucket=name, Key="checked", Body=b"right")
    good = b64encode(zlib.crc32(b"right").to_bytes(4, "big")).decode()
    refused("BadDigest", s3.put_object, Bucket=name, Key="checked", Body=b"wrong", ChecksumCRC32=good)
    refused(("BadDigest", "InvalidDigest"), s3.put_object, Bucket=name, Key="checked", Body=b"wrong", ContentMD5=b64encode(hashlib.md5(b"right").digest()).decode())
    assert s3.get_object(Bucket=name, Key="checked", ChecksumMode="ENABLED")["Body"].read() == b"right"
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket=name, Key="checked", Body=b"right", ChecksumAlgorithm=algorithm)
        head = s3.head_object(Bucket=name, Key="checked", ChecksumMode="ENABLED")
        assert head["Checksum" + algorithm], head


def uploads_in_parts(name):
    s3 = client()
    big, small = b"a" * (5 << 20), b"b" * 10
    # A checksum of the object before must not stay with the object after.
    s3.put_object(Bucket=name, Key="parts", Body=b"before", ChecksumAlgorithm="CRC32")
    upload = s3.create_multipart_upload(Bucket=name, Key="parts", ContentType="image/jpeg", Metadata={"m": "1"})["UploadId"]
    tags = {n: s3.upload_part(Bucket=name, Key="parts", UploadId=upload, PartNumber=n, Body=body)["ETag"] for n, body in ((3, big), (7, small))}
    refused("BadDigest", s3.upload_part, Bucket=name, Key="parts", UploadId=upload, PartNumber=9, Body=b"x", ChecksumCRC32="AAAAAA==")
    parts = s3.list_parts(Bucket=name, Key="parts", UploadId=upload)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in parts] == [(3, 5 << 20, tags[3]), (7, 10, tags[7])], parts
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=name)["Uploads"]] == [upload]
    assert s3.get_object(Bucket=name, Key="parts")["Body"].read() == b"before"
    complete = lambda *numbers: s3.complete_multipart_upload(
        Bucket=name, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": n, "ETag": tags.get(n, '"0"')} for n in numbers]}
    )
    refused("InvalidPartOrder", complete, 7, 3)
    refused("InvalidPart", complete, 3, 4)
    done = complete(3, 7)
    assert done["ETag"].endswith('-2"'), done
    got = s3.get_object(Bucket=name, Key="parts", ChecksumMode="ENABLED")
    assert got["Body"].read() == big + small and got["ContentType"] == "image/jpeg" and got["Metadata"] == {"m": "1"}
    refused("NoSuchUpload", complete, 3, 7)
    refused("NoSuchUpload", s3.upload_part, Bucket=name, Key="parts", UploadId=upload, PartNumber=1, Body=b"")

    upload = s3.create_multipart_upload(Bucket=name, Key="aborted")["UploadId"]
    s3.upload_part(Bucket=name, Key="aborted", UploadId=upload, PartNumber=1, Body=big)
    s3.abort_multipart_upload(Bucket=name, Key="aborted", UploadId=upload)
    refused("NoSuchUpload", s3.abort_multipart_upload, Bucket=name, Key="aborted", UploadId=upload)
    refused("NoSuchKey", s3.get_object, Bucket=name, Key="aborted")

    # As a role's keys change while an upload goes on.
    temporary = client(key=TEMPORARY_KEY, secret=TEMPORARY_SECRET, token=TOKEN)
    upload = s3.create_multipart_upload(Bucket=name, Key="two owners")["UploadId"]
    tag = temporary.upload_part(Bucket=name, Key="two owners", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    copied = temporary.upload_part_copy(
        Bucket=name, Key="two owners", UploadId=upload, PartNumber=2, CopySource={"Bucket": name, "Key": "parts"}, CopySourceRange="bytes=0-2"
    )["CopyPartResult"]["ETag"]
    s3.abort_multipart_upload(Bucket=name, Key="two owners", UploadId=upload)
    assert tag and copied

    body = b"z" * (20 << 20)
    s3.upload_fileobj(io.BytesIO(body), name, "transfer", Config=boto3.s3.transfer.TransferConfig(multipart_threshold=8 << 20))
    into = io.BytesIO()
    s3.download_fileobj(name, "transfer", into)
    assert into.getvalue() == body


def chunked_bodies_with_and_without_signatures(name):
    """What SDKs send for streams over HTTP; boto3 itself does not, so it is written out here."""
    data = b"c" * 70000
    crc = b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    for path in ("/services/objectstorage", ""):
        for kind, trailer in (
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", True),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", False),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", True),
        ):
            for forged in (False, True):
                key = f"chunked{path.replace('/', '-')}-{kind}"
                status = send_chunked(f"{path}/{name}/{key}", kind, data, crc if trailer else None, forged)
                if forged and kind.startswith("STREAMING-AWS4"):
                    assert status >= 400, (path, kind, status)
                elif not forged:
                    assert status == 200, (path, kind, status)
                if not forged:
                    got = client().get_object(Bucket=name, Key=key)
                    assert got["Body"].read() == data, (path, kind)
                    assert "ContentEncoding" not in got, got


def send_chunked(path, kind, data, crc, forged):
    headers = {"x-amz-content-sha256": kind, "x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}
    if crc:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    request = AWSRequest("PUT", ENDPOINT + path, headers=headers)

    class Signer(SigV4Auth):
        def payload(self, request):
            return kind

    signer = Signer(Credentials(KEY, SECRET), "s3", "localcloud")
    signer._should_sha256_sign_payload = lambda request: True
    signer.add_auth(request)
    seed = request.headers["Authorization"].split("Signature=")[1]
    stamp = request.headers["X-Amz-Date"]
    scope = f"{stamp[:8]}/localcloud/s3/aws4_request"
    key = ("AWS4" + SECRET).encode()
    for part in (stamp[:8], "localcloud", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    empty = hashlib.sha256(b"").hexdigest()
    sign = lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed, previous, body = kind.startswith("STREAMING-AWS4"), seed, b""
    chunks = [data[at : at + 32768] for at in range(0, len(data), 32768)] + [b""]
    for chunk in chunks:
        head = f"{len(chunk):x}"
        if signed:
            previous = sign(f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{hashlib.sha256(chunk).hexdigest()}")
            head += f";chunk-signature={previous}"
        sent = b"F" + chunk[1:] if forged and chunk else chunk
        body += head.encode() + b"\r\n" + (sent + b"\r\n" if chunk else b"")
    if crc:
        body += f"x-amz-checksum-crc32:{crc}\r\n".encode()
        if signed:
            digest = hashlib.sha256(f"x-amz-checksum-crc32:{crc}\n".encode()).hexdigest()
            body += f"x-amz-trailer-signature:{sign(f'AWS4-HMAC-SHA256-TRAILER{chr(10)}{stamp}{chr(10)}{scope}{chr(10)}{previous}{chr(10)}{digest}')}\r\n".encode()
    body += b"\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("PUT", path, body=body, headers=dict(request.headers.items()))
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200 and not forged:
        print(text, file=sys.stderr)
    connection.close()
    return answer.status


def main():
    name = f"claims-{int(time.time() * 1000)}"
    client().create_bucket(Bucket=name)
    for claim in (
        every_way_to_the_endpoint,
        strangers_are_refused,
        buckets,
        what_a_bucket_is_told_it_tells,
        attributes_are_kept,
        presigned_urls_open_without_further_credentials,
        any_key_is_a_key_of_its_own,
        wrong_checksums_leave_the_object_as_it_was,
        uploads_in_parts,
        chunked_bodies_with_and_without_signatures,
    ):
        start = time.time()
        claim(name)
        print(f"{claim.__name__} ({time.time() - start:.2f} s)", flush=True)
    s3 = client()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    s3.delete_bucket(Bucket=name)
    print("ok")


main()
