//! Refusals that AWS was recorded to give, request by request. Sources: the snapshots of LocalStack's tests that ran against
//! AWS (`tests/aws/services/*/*.snapshot.json`), moto's tests marked as verified with AWS, and reports of users.

use crate::fake_world::FakeWorld;

struct Refusal {
    action: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    code: &'static str,
    status: u16,
    message: &'static str,
}

const fn refusal(
    action: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    code: &'static str,
    message: &'static str,
) -> Refusal {
    Refusal { action, parameters, code, status: 400, message }
}

fn assert_refused(world: &FakeWorld, service: &str, refusals: &[Refusal]) {
    for Refusal { action, parameters, code, status, message } in refusals {
        let error = world.call(service, action, parameters).expect_err(action);
        assert_eq!(
            (error.code.as_str(), error.status, error.message.as_str()),
            (*code, *status, *message),
            "{action} {parameters:?}"
        );
    }
}

const BOTH: &str = "The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive and you have specified both.";
const BOTH_SETS: &str = "The parameters MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually exclusive and you have specified both.";

#[test]
fn cloudwatch_refuses_metrics_and_alarms_as_aws_does() {
    const N: (&str, &str) = ("Namespace", "n");
    const M: (&str, &str) = ("MetricName", "m");
    const DATUM: (&str, &str) = ("MetricData.member.1.MetricName", "m");
    const ONE: (&str, &str) = ("MetricData.member.1.Value", "1");
    let world = FakeWorld::new();
    assert_refused(
        &world,
        "monitoring",
        &[
            // LocalStack: test_put_metric_data_validation.
            refusal(
                "PutMetricData",
                &[N, DATUM, ONE, ("MetricData.member.1.Values.member.1", "1")],
                "InvalidParameterCombination",
                BOTH,
            ),
            refusal(
                "PutMetricData",
                &[
                    N,
                    DATUM,
                    ("MetricData.member.1.Values.member.1", "1"),
                    ("MetricData.member.1.Values.member.2", "1"),
                    ("MetricData.member.1.Counts.member.1", "1"),
                ],
                "InvalidParameterValue",
                "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size.",
            ),
            refusal(
                "PutMetricData",
                &[
                    N,
                    DATUM,
                    ONE,
                    ("MetricData.member.1.StatisticValues.SampleCount", "1"),
                    ("MetricData.member.1.StatisticValues.Sum", "1"),
                    ("MetricData.member.1.StatisticValues.Minimum", "1"),
                    ("MetricData.member.1.StatisticValues.Maximum", "1"),
                ],
                "InvalidParameterCombination",
                BOTH_SETS,
            ),
            // https://github.com/awslabs/cloudwatch-fluent-metrics/issues/13
            refusal("PutMetricData", &[N], "MissingParameter", "The parameter MetricData is required."),
            // https://github.com/cloud-custodian/cloud-custodian/issues/2559
            refusal(
                "PutMetricData",
                &[N, DATUM, ONE, ("MetricData.member.1.Timestamp", "2020-01-01T00:00:00Z")],
                "InvalidParameterValue",
                "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.",
            ),
            // https://github.com/yegor256/s3auth/issues/134
            refusal(
                "GetMetricStatistics",
                &[M, ("StartTime", "2026-01-01T00:00:00Z"), ("EndTime", "2026-01-02T00:00:00Z"), ("Period", "60")],
                "MissingParameter",
                "The parameter Namespace is required.",
            ),
            // LocalStack: test_invalid_amount_of_datapoints.
            refusal(
                "GetMetricStatistics",
                &[
                    N,
                    M,
                    ("StartTime", "2026-01-01T00:00:00Z"),
                    ("EndTime", "2026-01-02T00:00:00Z"),
                    ("Period", "1"),
                    ("Statistics.member.1", "Sum"),
                ],
                "InvalidParameterCombination",
                "You have requested up to 86400 datapoints, which exceeds the limit of 1440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            ),
            refusal(
                "GetMetricStatistics",
                &[
                    N,
                    M,
                    ("StartTime", "2026-01-02T00:00:00Z"),
                    ("EndTime", "2026-01-01T00:00:00Z"),
                    ("Period", "60"),
                    ("Statistics.member.1", "Sum"),
                ],
                "InvalidParameterValue",
                "The parameter StartTime must be less than the parameter EndTime.",
            ),
        ],
    );
    const ALARM: [(&str, &str); 5] = [
        ("AlarmName", "a"),
        ("EvaluationPeriods", "1"),
        ("Period", "60"),
        ("Threshold", "1"),
        ("ComparisonOperator", "GreaterThanThreshold"),
    ];
    let refused = |parameters: &[(&str, &str)]| world.call("monitoring", "PutMetricAlarm", parameters).unwrap_err();
    // https://github.com/aws-cloudformation/cfn-lint/pull/771
    let error = refused(&ALARM);
    assert_eq!((error.code.as_str(), error.message.as_str()), ("ValidationError", "MetricName must not be null"));
    // https://github.com/cloudtools/troposphere/pull/1276
    let mathematical = [
        ALARM[0],
        ALARM[1],
        ALARM[3],
        ALARM[4],
        ("Statistic", "Sum"),
        ("Metrics.member.1.Id", "m1"),
        ("Metrics.member.1.MetricStat.Metric.Namespace", "n"),
        ("Metrics.member.1.MetricStat.Metric.MetricName", "m"),
        ("Metrics.member.1.MetricStat.Period", "60"),
        ("Metrics.member.1.MetricStat.Stat", "Sum"),
    ];
    let error = refused(&mathematical);
    let words = "Statistic should not be set if list of Metrics is set.";
    assert_eq!((error.code.as_str(), error.message.as_str()), ("ValidationError", words));
}

#[test]
fn an_alarms_state_is_refused_as_aws_does() {
    let world = FakeWorld::new();
    let set = |value| {
        let parameters = [("AlarmName", "nobody"), ("StateValue", value), ("StateReason", "x")];
        world.call("monitoring", "SetAlarmState", &parameters).unwrap_err()
    };
    // LocalStack: test_set_alarm_invalid_input. The order of the set is that of AWS's program.
    let invalid = set("INVALID");
    assert_eq!((invalid.code.as_str(), invalid.status), ("ValidationError", 400));
    let words = "1 validation error detected: Value 'INVALID' at 'stateValue' failed to satisfy constraint: Member must satisfy enum value set: [";
    assert!(invalid.message.starts_with(words), "{}", invalid.message);
    let unknown = set("OK");
    assert_eq!((unknown.code.as_str(), unknown.status), ("ResourceNotFound", 404));
}

#[test]
fn a_value_of_the_wrong_form_is_malformed_input_to_the_query_services() {
    let world = FakeWorld::new();
    for (service, action, parameters, name) in [
        // https://github.com/brendanhay/amazonka/issues/495
        (
            "monitoring",
            "GetMetricStatistics",
            &[
                ("Namespace", "n"),
                ("MetricName", "m"),
                ("Period", "60"),
                ("StartTime", "yesterday"),
                ("EndTime", "2026-01-01T00:00:00Z"),
            ][..],
            "StartTime",
        ),
        // https://github.com/flexera-public/right_aws/issues/27
        (
            "autoscaling",
            "CreateAutoScalingGroup",
            &[("AutoScalingGroupName", "g"), ("MinSize", "0"), ("MaxSize", "0"), ("LoadBalancerNames", "x")],
            "LoadBalancerNames",
        ),
    ] {
        let error = world.call(service, action, parameters).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("MalformedInput", 400));
        assert!(error.message.contains(name), "{}", error.message);
    }
}

const TRUST: (&str, &str) = (
    "AssumeRolePolicyDocument",
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#,
);

#[test]
fn iam_refuses_policies_and_names_as_aws_does() {
    const R: (&str, &str) = ("RoleName", "r");
    const NONE: &str = "arn:aws:iam::000000000001:policy/none";
    let world = FakeWorld::new();
    world.call("iam", "CreateRole", &[R, TRUST]).unwrap();
    let not_found = |refusal: Refusal| Refusal { status: 404, ..refusal };
    assert_refused(
        &world,
        "iam",
        &[
            // LocalStack: test_create_role_with_malformed_assume_role_policy_document, test_role_attach_policy,
            // test_delete_non_existent_policy_returns_no_such_entity.
            refusal(
                "CreateRole",
                &[("RoleName", "s"), ("AssumeRolePolicyDocument", "{")],
                "MalformedPolicyDocument",
                "This policy contains invalid Json",
            ),
            refusal(
                "AttachRolePolicy",
                &[R, ("PolicyArn", "longpolicynamebutnoarn")],
                "ValidationError",
                "Invalid ARN:  Could not be parsed!",
            ),
            not_found(refusal(
                "AttachRolePolicy",
                &[R, ("PolicyArn", NONE)],
                "NoSuchEntity",
                "Policy arn:aws:iam::000000000001:policy/none does not exist or is not attachable.",
            )),
            not_found(refusal(
                "DeletePolicy",
                &[("PolicyArn", NONE)],
                "NoSuchEntity",
                "Policy arn:aws:iam::000000000001:policy/none was not found.",
            )),
        ],
    );
    // LocalStack: test_invalid_update_parameters, of another action with the same parameter. IAM does not repeat values.
    let key = [("UserName", "u"), ("AccessKeyId", "AKIAIOSFODNN7EXAMPLE"), ("Status", "Off")];
    let error = world.call("iam", "UpdateAccessKey", &key).unwrap_err();
    let words = "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set";
    assert!(error.code == "ValidationError" && error.message.starts_with(words), "{error}");
}

#[test]
fn sts_refuses_roles_and_tags_as_aws_does() {
    const S: (&str, &str) = ("RoleSessionName", "session");
    const ROLE: (&str, &str) = ("RoleArn", "arn:aws:iam::000000000001:role/r");
    let world = FakeWorld::new();
    world.call("iam", "CreateRole", &[("RoleName", "r"), TRUST]).unwrap();
    assert_refused(
        &world,
        "sts",
        &[
            // LocalStack: test_sts_invalid_parameters, test_assume_role_tag_validation.
            refusal(
                "AssumeRole",
                &[S, ("RoleArn", "nothing-valid-in-here")],
                "ValidationError",
                "nothing-valid-in-here is invalid",
            ),
            refusal(
                "AssumeRole",
                &[ROLE, ("RoleSessionName", "Session1:2")],
                "ValidationError",
                r"1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*",
            ),
            refusal(
                "AssumeRole",
                &[
                    ROLE,
                    S,
                    ("Tags.member.1.Key", "a"),
                    ("Tags.member.1.Value", "1"),
                    ("TransitiveTagKeys.member.1", "b"),
                ],
                "InvalidParameterValue",
                "The specified transitive tag key must be included in the requested tags.",
            ),
            refusal(
                "AssumeRole",
                &[
                    ROLE,
                    S,
                    ("Tags.member.1.Key", "a"),
                    ("Tags.member.1.Value", "1"),
                    ("Tags.member.2.Key", "A"),
                    ("Tags.member.2.Value", "1"),
                ],
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ),
        ],
    );
}

#[test]
fn ec2_refuses_images_volumes_and_launch_templates_as_aws_does() {
    const NAME: (&str, &str) = ("LaunchTemplateName", "template");
    const DATA: (&str, &str) = ("LaunchTemplateData.InstanceType", "t3.micro");
    let world = FakeWorld::new();
    let made = world.call("ec2", "CreateLaunchTemplate", &[NAME, DATA]).unwrap();
    let id = made.text("launchTemplate.launchTemplateId");
    assert_refused(
        &world,
        "ec2",
        &[
            // LocalStack: test_raise_create_volume_without_size.
            refusal(
                "CreateVolume",
                &[("AvailabilityZone", "PARTI00")],
                "MissingParameter",
                "The request must contain the parameter size/snapshot",
            ),
            // moto: test_ami_describe_non_existent.
            refusal(
                "DescribeImages",
                &[("ImageId.1", "ami-abcd1234")],
                "InvalidAMIID.NotFound",
                "The image id '[ami-abcd1234]' does not exist",
            ),
            refusal(
                "DescribeImages",
                &[("ImageId.1", "ami-abcd1234"), ("ImageId.2", "ami-1234abcd")],
                "InvalidAMIID.NotFound",
                "The image ids '[ami-abcd1234, ami-1234abcd]' do not exist",
            ),
            refusal(
                "DescribeImages",
                &[("ImageId.1", "not_an_ami_id")],
                "InvalidAMIID.Malformed",
                "Invalid id: \"not_an_ami_id\" (expecting \"ami-...\")",
            ),
            // moto: test_launch_templates.py.
            refusal(
                "CreateLaunchTemplate",
                &[NAME, DATA],
                "InvalidLaunchTemplateName.AlreadyExistsException",
                "Launch template name already in use.",
            ),
            refusal(
                "DescribeLaunchTemplates",
                &[("LaunchTemplateName.1", "unknown")],
                "InvalidLaunchTemplateName.NotFoundException",
                "At least one of the launch templates specified in the request does not exist.",
            ),
            refusal(
                "DescribeLaunchTemplateVersions",
                &[("LaunchTemplateName", "unknown")],
                "InvalidLaunchTemplateName.NotFoundException",
                "The specified launch template, with template name unknown, does not exist.",
            ),
            refusal(
                "ModifyLaunchTemplate",
                &[NAME, ("SetDefaultVersion", "2")],
                "InvalidLaunchTemplateId.VersionNotFound",
                "The launch template version 2 is not found for the specified launch template.",
            ),
            refusal(
                "ModifyLaunchTemplate",
                &[NAME, ("LaunchTemplateId", "lt-0123456789abcdef0"), ("SetDefaultVersion", "1")],
                "InvalidParameterCombination",
                "Either provide launch template ID or launch template name to modify the template.",
            ),
        ],
    );
    let third = [("LaunchTemplateId", id.as_str()), ("LaunchTemplateVersion.1", "3")];
    let error = world.call("ec2", "DescribeLaunchTemplateVersions", &third).unwrap_err();
    let words = format!("Could not find the specified version 3 for the launch template with ID {id}.");
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("InvalidLaunchTemplateId.VersionNotFound", words.as_str())
    );
    for (parameters, code) in
        [(&[][..], "MissingParameter"), (&[("LaunchTemplateVersion.1", "1")], "InvalidParameterValue")]
    {
        assert_eq!(world.refused("ec2", "DescribeLaunchTemplateVersions", parameters), code);
    }
}
