"""IAM and STS as boto3 sees them. Called by identity.rs: URL KEY SECRET ROOT_ARN. The last line printed is `done`."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

URL, KEY, SECRET, ROOT = sys.argv[1:]
PATHS = {
    "ec2": "compute",
    "iam": "Euare",
    "sts": "Tokens",
    "cloudwatch": "CloudWatch",
    "autoscaling": "AutoScaling",
    "elb": "LoadBalancing",
}


def client(service, key=KEY, secret=SECRET, token=None):
    return boto3.client(
        service,
        endpoint_url=f"{URL}/services/{PATHS[service]}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name="localcloud",
        config=Config(retries={"max_attempts": 1}),
    )


def refused(code, call, **named):
    try:
        call(**named)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call} {named} was not refused with {code}")


def policy(*actions, effect="Allow", resource="*", **more):
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


iam, sts = client("iam"), client("sts")
assert sts.get_caller_identity()["Arn"] == ROOT
account = sts.get_caller_identity()["Account"]

# Users, groups, keys, policies.
user = iam.create_user(UserName="jo", Path="/staff/", Tags=[{"Key": "team", "Value": "web"}])["User"]
assert user["Arn"] == f"arn:aws:iam::{account}:user/staff/jo" and user["CreateDate"].year >= 2024
assert iam.list_user_tags(UserName="jo")["Tags"] == [{"Key": "team", "Value": "web"}]
key = iam.create_access_key(UserName="jo")["AccessKey"]
jo = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
iam.create_group(GroupName="team")
iam.add_user_to_group(GroupName="team", UserName="jo")
iam.put_group_policy(GroupName="team", PolicyName="p", PolicyDocument=policy("ec2:Describe*"))
assert iam.get_group_policy(GroupName="team", PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
client("ec2", **jo).describe_instances()
message = refused("UnauthorizedOperation", client("ec2", **jo).create_security_group, GroupName="g", Description="g")
assert "is not authorized to perform: ec2:CreateSecurityGroup on resource: arn:aws:ec2:" in message, message
for service, call in (
    ("iam", "list_users"),
    ("elb", "describe_load_balancers"),
    ("autoscaling", "describe_auto_scaling_groups"),
    ("cloudwatch", "describe_alarms"),
):
    message = refused("AccessDenied", getattr(client(service, **jo), call))
    assert message.startswith(f"User: {user['Arn']} is not authorized to perform: "), message

arn = iam.create_policy(PolicyName="alarms", PolicyDocument=policy("cloudwatch:*"))["Policy"]["Arn"]
iam.attach_user_policy(UserName="jo", PolicyArn=arn)
client("cloudwatch", **jo).describe_alarms()
version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("cloudwatch:Get*"), SetAsDefault=True)
assert version["PolicyVersion"]["VersionId"] == "v2"
refused("AccessDenied", client("cloudwatch", **jo).describe_alarms)
names = [p["PolicyName"] for page in iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 5}) for p in page["Policies"]]
assert {"alarms", "AdministratorAccess", "AmazonS3ReadOnlyAccess"} <= set(names) and len(names) == len(set(names)), names
document = iam.get_policy_version(PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess", VersionId="v1")
assert document["PolicyVersion"]["Document"]["Statement"][0]["Action"] == ["*"]
assert iam.get_access_key_last_used(AccessKeyId=jo["key"])["AccessKeyLastUsed"]["ServiceName"] == "monitoring"
summary = iam.get_account_summary()["SummaryMap"]
assert summary["Users"] == 1 and summary["Groups"] == 1 and summary["Policies"] == 1, summary
details = iam.get_account_authorization_details()
assert details["UserDetailList"][0]["AttachedManagedPolicies"][0]["PolicyArn"] == arn
simulated = iam.simulate_principal_policy(PolicySourceArn=user["Arn"], ActionNames=["ec2:DescribeVpcs", "ec2:CreateVpc"])
assert [r["EvalDecision"] for r in simulated["EvaluationResults"]] == ["allowed", "implicitDeny"]

# Roles and sessions.
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole",
         "Condition": {"StringEquals": {"sts:ExternalId": "x-1"}}}]}
role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=7200)["Role"]
assert role["MaxSessionDuration"] == 7200 and role["AssumeRolePolicyDocument"] == trust
iam.attach_role_policy(RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
asked = {"RoleArn": role["Arn"], "RoleSessionName": "one"}
refused("AccessDenied", client("sts", **jo).assume_role, **asked)
answer = client("sts", **jo).assume_role(**asked, ExternalId="x-1", DurationSeconds=900, Policy=policy("iam:ListUsers", "sts:*"))
given = answer["Credentials"]
session = {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"], "token": given["SessionToken"]}
assert client("sts", **session).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]
assert [u["UserName"] for u in client("iam", **session).list_users()["Users"]] == ["jo"]
message = refused("AccessDenied", client("iam", **session).list_roles)
assert message.endswith("because no session policy allows the iam:ListRoles action"), message
refused("InvalidClientTokenId", client("sts", key=session["key"], secret=session["secret"]).get_caller_identity)
refused("MalformedPolicyDocument", iam.put_user_policy, UserName="jo", PolicyName="x", PolicyDocument="{}")
given = client("sts", **jo).get_session_token(DurationSeconds=900)["Credentials"]
session = {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"], "token": given["SessionToken"]}
client("ec2", **session).describe_vpcs()
refused("InvalidClientTokenId", client("iam", **session).get_user)

# Away with all of it.
iam.update_access_key(UserName="jo", AccessKeyId=jo["key"], Status="Inactive")
refused("AuthFailure", client("ec2", **jo).describe_instances)
refused("InvalidClientTokenId", client("sts", **jo).get_caller_identity)
refused("DeleteConflict", iam.delete_user, UserName="jo")
iam.delete_access_key(UserName="jo", AccessKeyId=jo["key"])
iam.detach_user_policy(UserName="jo", PolicyArn=arn)
iam.remove_user_from_group(UserName="jo", GroupName="team")
iam.delete_user(UserName="jo")
iam.delete_group_policy(GroupName="team", PolicyName="p")
iam.delete_group(GroupName="team")
iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
iam.delete_policy(PolicyArn=arn)
iam.detach_role_policy(RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
iam.delete_role(RoleName="reader")
assert iam.get_account_summary()["SummaryMap"]["Users"] == 0
print("done")
