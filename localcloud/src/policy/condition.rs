//! Conditions under which a statement counts.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    context::Context,
    document::{Malformed, malformed},
    pattern::{self, Variables},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsAnyCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Same,
    Less,
    LessOrSame,
    Greater,
    GreaterOrSame,
}

/// How several values of one key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    None,
    Any,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// Whether the key is there.
    Null,
    Compare {
        test: Test,
        negated: bool,
        if_exists: bool,
        quantifier: Quantifier,
    },
}

/// One operator with one key and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    operator: Operator,
    key: String,
    values: Vec<String>,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>
const FIXED_KEYS: &[&str] = &[
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIp",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpce",
    "aws:userid",
    "s3:DataAccessPointAccount",
    "s3:DataAccessPointArn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

/// What an operator's name means, without its prefix and `IfExists`.
const TESTS: &[(&str, Test, bool)] = &[
    ("StringEquals", Test::Equals, false),
    ("StringNotEquals", Test::Equals, true),
    ("StringEqualsIgnoreCase", Test::EqualsAnyCase, false),
    ("StringNotEqualsIgnoreCase", Test::EqualsAnyCase, true),
    ("StringLike", Test::Like, false),
    ("StringNotLike", Test::Like, true),
    ("NumericEquals", Test::Number(Order::Same), false),
    ("NumericNotEquals", Test::Number(Order::Same), true),
    ("NumericLessThan", Test::Number(Order::Less), false),
    ("NumericLessThanEquals", Test::Number(Order::LessOrSame), false),
    ("NumericGreaterThan", Test::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Test::Number(Order::GreaterOrSame), false),
    ("DateEquals", Test::Date(Order::Same), false),
    ("DateNotEquals", Test::Date(Order::Same), true),
    ("DateLessThan", Test::Date(Order::Less), false),
    ("DateLessThanEquals", Test::Date(Order::LessOrSame), false),
    ("DateGreaterThan", Test::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Test::Date(Order::GreaterOrSame), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::Binary, false),
    ("IpAddress", Test::Address, false),
    ("NotIpAddress", Test::Address, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnLike", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnNotLike", Test::Arn, true),
];

impl Operator {
    fn parse(name: &str) -> Result<Self, Malformed> {
        if name.eq_ignore_ascii_case("Null") {
            return Ok(Self::Null);
        }
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            _ => (Quantifier::None, name),
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        TESTS
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(rest))
            .map(|(_, test, negated)| Self::Compare { test: *test, negated: *negated, if_exists, quantifier })
            .ok_or_else(|| malformed(format!("Invalid Condition type : {name}.")))
    }
}

impl Condition {
    pub(super) fn parse_all(operators: &Map<String, Value>) -> Result<Vec<Self>, Malformed> {
        let mut conditions = Vec::new();
        for (name, keys) in operators {
            let operator = Operator::parse(name)?;
            let Value::Object(keys) = keys else { return Err(malformed("Syntax errors in policy.")) };
            for (key, values) in keys {
                if !key.contains(':') {
                    return Err(malformed(
                        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
                    ));
                }
                let values = scalars(values)?;
                if let Operator::Compare { test, .. } = operator
                    && let Some(value) = values.iter().find(|value| !test.takes(value))
                {
                    return Err(malformed(format!("Invalid value for Condition type {name}: {value}")));
                }
                conditions.push(Self { operator, key: key.clone(), values });
            }
        }
        Ok(conditions)
    }

    /// Whether it holds for fixed values only of who asks, or from where: then a policy that means everyone is not public.
    pub(super) fn is_fixed(&self) -> bool {
        let Operator::Compare { test, negated: false, if_exists: false, quantifier: Quantifier::None } = self.operator
        else {
            return false;
        };
        let fixed = |value: &String| !value.contains(['*', '?', '$']);
        let key = FIXED_KEYS.iter().any(|key| key.eq_ignore_ascii_case(&self.key));
        match test {
            // A range of everything is none.
            Test::Address => key && self.values.iter().all(|value| !value.ends_with("/0")),
            Test::Equals | Test::EqualsAnyCase | Test::Like | Test::Arn => key && self.values.iter().all(fixed),
            _ => false,
        }
    }

    /// Whether it is so for a request of this context.
    pub(super) fn holds(&self, context: &Context, variables: Variables<'_>) -> bool {
        let found = context.get(&self.key).filter(|values| !values.is_empty());
        let Operator::Compare { test, negated, if_exists, quantifier } = self.operator else {
            return self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == found.is_none());
        };
        let Some(found) = found else {
            // What is not there is not the value: true for the negated ones.
            return if_exists || quantifier == Quantifier::All || (negated && quantifier == Quantifier::None);
        };
        let right =
            |value: &String| self.values.iter().any(|expected| test.holds(value, expected, variables)) != negated;
        match quantifier {
            Quantifier::All => found.iter().all(right),
            Quantifier::None if negated => found.iter().all(right),
            Quantifier::Any | Quantifier::None => found.iter().any(right),
        }
    }
}

/// Numbers and booleans may stand without quotation marks.
fn scalars(value: &Value) -> Result<Vec<String>, Malformed> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(malformed("Syntax errors in policy.")),
    };
    match value {
        Value::Array(values) => values.iter().map(scalar).collect(),
        value => scalar(value).map(|value| vec![value]),
    }
}

impl Test {
    /// Whether such a value can be compared at all.
    fn takes(self, value: &str) -> bool {
        match self {
            _ if value.contains("${") => true,
            Self::Number(_) => number(value).is_some(),
            Self::Date(_) => date(value).is_some(),
            Self::Address => network(value).is_some(),
            Self::Binary => STANDARD.decode(value).is_ok(),
            Self::Equals | Self::EqualsAnyCase | Self::Like | Self::Bool | Self::Arn => true,
        }
    }

    fn holds(self, value: &str, expected: &str, variables: Variables<'_>) -> bool {
        match self {
            Self::Like => return pattern::matches(expected, value, variables),
            Self::Arn => return pattern::matches_arn(expected, value, variables),
            _ => {}
        }
        let Some(expected) = pattern::substituted(expected, variables) else { return false };
        let expected = expected.as_str();
        match self {
            Self::Equals | Self::Like | Self::Arn => value == expected,
            Self::EqualsAnyCase => value.to_lowercase() == expected.to_lowercase(),
            Self::Number(order) => {
                number(value).zip(number(expected)).is_some_and(|(left, right)| order.holds(left, right))
            }
            Self::Date(order) => date(value).zip(date(expected)).is_some_and(|(left, right)| order.holds(left, right)),
            Self::Bool => value.eq_ignore_ascii_case(expected),
            Self::Binary => {
                let decoded = STANDARD.decode(value).ok().zip(STANDARD.decode(expected).ok());
                decoded.is_some_and(|(left, right)| left == right)
            }
            Self::Address => value
                .parse::<IpAddr>()
                .ok()
                .zip(network(expected))
                .is_some_and(|(address, network)| contains(network, address)),
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Same => left == right,
            Self::Less => left < right,
            Self::LessOrSame => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrSame => left >= right,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

/// ISO 8601, a day alone, or seconds since the epoch.
fn date(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    let day = || {
        let day: jiff::civil::Date = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()
    };
    text.parse()
        .ok()
        .or_else(|| format!("{text}Z").parse().ok())
        .or_else(|| text.parse::<i64>().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()))
        .or_else(day)
}

/// An address alone is a network of one.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(longest);
    (bits <= longest).then_some((address, bits))
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    };
    let ((network, is_v4), (address, other_is_v4)) = (wide(network), wide(address));
    is_v4 == other_is_v4 && (bits == 0 || (network ^ address) >> (128 - u32::from(bits)) == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context() -> Context {
        let mut context = Context::default();
        for (key, value) in [
            ("aws:username", "Jo"),
            ("aws:SourceIp", "10.77.0.9"),
            ("aws:CurrentTime", "2026-11-24T12:00:00Z"),
            ("aws:SecureTransport", "false"),
            ("s3:max-keys", "10"),
            ("aws:PrincipalArn", "arn:aws:iam::000000000001:user/team/Jo"),
            ("s3:prefix", "home/Jo/x"),
            ("aws:TagKeys", "a"),
            ("aws:TagKeys", "b"),
            ("x:bytes", "QmluYXJ5"),
        ] {
            context.add(key, value);
        }
        context
    }

    #[test]
    fn each_operator_is_so_or_not_so() {
        let context = context();
        for (operator, key, value, expected) in [
            ("StringEquals", "aws:username", json!("Jo"), true),
            ("StringEquals", "AWS:UserName", json!(["x", "Jo"]), true),
            ("StringEquals", "aws:username", json!("jo"), false),
            ("StringEquals", "aws:nothing", json!("jo"), false),
            ("StringEqualsIfExists", "aws:nothing", json!("jo"), true),
            ("StringEqualsIfExists", "aws:username", json!("x"), false),
            ("StringNotEquals", "aws:username", json!(["x", "Jo"]), false),
            ("StringNotEquals", "aws:username", json!(["x", "y"]), true),
            ("StringNotEquals", "aws:nothing", json!("x"), true),
            ("StringEqualsIgnoreCase", "aws:username", json!("jO"), true),
            ("StringNotEqualsIgnoreCase", "aws:username", json!("jO"), false),
            ("StringLike", "aws:username", json!("J?"), true),
            ("StringLike", "s3:prefix", json!("home/${aws:username}/*"), true),
            ("StringNotLike", "aws:username", json!("J*"), false),
            ("NumericEquals", "s3:max-keys", json!(10), true),
            ("NumericNotEquals", "s3:max-keys", json!("10"), false),
            ("NumericLessThan", "s3:max-keys", json!("10"), false),
            ("NumericLessThanEquals", "s3:max-keys", json!("10"), true),
            ("NumericGreaterThan", "s3:max-keys", json!("9.5"), true),
            ("NumericGreaterThanEquals", "s3:max-keys", json!("11"), false),
            ("DateEquals", "aws:CurrentTime", json!("2026-11-24T12:00:00Z"), true),
            ("DateNotEquals", "aws:CurrentTime", json!("2026-11-24T12:00:00Z"), false),
            ("DateLessThan", "aws:CurrentTime", json!("2026-11-25"), true),
            ("DateGreaterThan", "aws:CurrentTime", json!("2026-11-24T13:00:00Z"), false),
            ("DateGreaterThanEquals", "aws:CurrentTime", json!("1700000000"), true),
            ("DateLessThanEquals", "aws:CurrentTime", json!("2026-11-24T12:00:00Z"), true),
            ("Bool", "aws:SecureTransport", json!(false), true),
            ("Bool", "aws:SecureTransport", json!("true"), false),
            ("BoolIfExists", "aws:MultiFactorAuthPresent", json!("true"), true),
            ("IpAddress", "aws:SourceIp", json!("10.77.0.0/16"), true),
            ("IpAddress", "aws:SourceIp", json!(["192.0.2.0/24", "10.77.0.9"]), true),
            ("IpAddress", "aws:SourceIp", json!("2001:db8::/32"), false),
            ("IpAddress", "aws:SourceIp", json!("0.0.0.0/0"), true),
            ("NotIpAddress", "aws:SourceIp", json!("10.77.0.0/16"), false),
            ("NotIpAddress", "aws:SourceIp", json!("10.78.0.0/16"), true),
            ("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam::*:user/team/*"), true),
            ("ArnEquals", "aws:PrincipalArn", json!("arn:aws:iam::*:user/*"), true),
            ("ArnNotLike", "aws:PrincipalArn", json!("arn:aws:iam::*:role/*"), true),
            ("ArnNotEquals", "aws:PrincipalArn", json!("arn:aws:iam::000000000001:user/team/Jo"), false),
            ("Null", "aws:username", json!("true"), false),
            ("Null", "aws:username", json!(false), true),
            ("Null", "aws:nothing", json!("true"), true),
            ("ForAllValues:StringEquals", "aws:TagKeys", json!(["a", "b", "c"]), true),
            ("ForAllValues:StringEquals", "aws:TagKeys", json!(["a"]), false),
            ("ForAllValues:StringEquals", "aws:nothing", json!(["a"]), true),
            ("ForAnyValue:StringEquals", "aws:TagKeys", json!(["b", "c"]), true),
            ("ForAnyValue:StringEquals", "aws:TagKeys", json!(["c"]), false),
            ("ForAnyValue:StringEquals", "aws:nothing", json!(["c"]), false),
            ("ForAllValues:StringNotEquals", "aws:TagKeys", json!(["c"]), true),
            ("ForAllValues:StringNotEquals", "aws:TagKeys", json!(["b"]), false),
            ("ForAnyValue:StringNotEquals", "aws:TagKeys", json!(["b"]), true),
            ("ForAnyValue:StringLikeIfExists", "aws:nothing", json!(["b"]), true),
            ("BinaryEquals", "x:bytes", json!("QmluYXJ5"), true),
            ("BinaryEquals", "x:bytes", json!("AAAA"), false),
            ("BinaryEquals", "aws:username", json!("QmluYXJ5"), false),
        ] {
            let operators = json!({ operator: { key: value.clone() } });
            let conditions = Condition::parse_all(operators.as_object().expect("an object")).expect(operator);
            let holds = conditions.iter().all(|condition| condition.holds(&context, Some(&context)));
            assert_eq!(holds, expected, "{operator} {key} {value}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for operators in [
            json!({ "NumericEquals": { "s3:max-keys": "ten" } }),
            json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/33" } }),
            json!({ "DateEquals": { "aws:CurrentTime": "today" } }),
            json!({ "StringEquals": { "username": "x" } }),
            json!({ "ForEachValue:StringEquals": { "aws:username": "x" } }),
        ] {
            assert!(Condition::parse_all(operators.as_object().expect("an object")).is_err(), "{operators}");
        }
    }
}
