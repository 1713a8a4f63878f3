use super::*;
use crate::wire::query;

fn faults(text: &str) -> Faults {
    let faults = Faults::default();
    faults.set(text).expect("a plan");
    faults
}

fn failures(faults: &Faults, calls: &[(&str, &str)]) -> Vec<u64> {
    let struck = calls.iter().map(|(service, action)| faults.meet(service, action, "r"));
    struck.filter(|verdict| verdict.failure.is_some()).map(|verdict| verdict.number).collect()
}

fn said(text: &str) -> String {
    Plan::parse(text).expect_err("it is no plan").to_string()
}

#[test]
fn selectors_count_the_calls_that_fit_and_no_others() {
    let calls: Vec<(&str, &str)> =
        (0..12).map(|n| if n % 2 == 0 { ("ec2", "CreateTags") } else { ("iam", "GetRole") }).collect();
    let struck = |selector: &str, action: &str| {
        failures(&faults(&format!("[[fault]]\naction = '{action}'\neffect = 'throttle'\n{selector}")), &calls)
    };
    assert_eq!(struck("nth = 2", "CreateTags"), [3]);
    assert_eq!(struck("nth = 2", "iam.*"), [4]);
    assert_eq!(struck("every = 3", "ec2.CreateTags"), [5, 11]);
    assert_eq!(struck("first = 2", "*"), [1, 2]);
    assert_eq!(struck("from = 5", "Get*"), [10, 12]);
    assert_eq!(struck("", "*Role"), [2, 4, 6, 8, 10, 12]);
    assert_eq!(struck("from = 2\nfirst = 3", "*"), [2, 3], "selectors narrow each other");
    assert_eq!(struck("for_seconds = 0", "*"), [0; 0], "its time is over");
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let calls = vec![("ec2", "CreateTags"); 1000];
    let struck = |seed: u64| {
        let text = format!("[[fault]]\naction = '*'\neffect = 'unavailable'\nprobability = 0.3\nseed = {seed}");
        failures(&faults(&text), &calls)
    };
    assert_eq!(struck(1), struck(1));
    assert_ne!(struck(1), struck(2));
    assert!((250..350).contains(&struck(1).len()), "{}", struck(1).len());
}

#[test]
fn the_first_failure_wins_and_delays_add_up() {
    let faults = faults(
        "[[fault]]\naction = '*'\neffect = 'delay'\nmilliseconds = 10\n\
         [[fault]]\naction = '*'\neffect = 'drop-after'\n\
         [[fault]]\naction = '*'\neffect = 'delay'\nmilliseconds = 5\n\
         [[fault]]\naction = '*'\neffect = 'throttle'\n",
    );
    let verdict = faults.meet("ec2", "CreateTags", "r-1");
    assert_eq!((verdict.delay, verdict.failure), (Duration::from_millis(15), Some(Effect::DropAfter)));
    faults.note(1, "OK");
    let calls = faults.calls(0);
    assert_eq!((calls.total, calls.calls[0].outcome.as_deref()), (1, Some("OK")));
    assert_eq!(calls.calls[0].faults, [Effect::Delay, Effect::DropAfter, Effect::Delay]);
    assert!(faults.calls(1).calls.is_empty());
}

#[test]
fn a_groups_launch_lacks_capacity_and_is_no_call() {
    let faults = faults("[[fault]]\naction = 'RunInstances'\neffect = 'insufficient-capacity'\nfirst = 1");
    assert!(faults.refuse_group_launch().is_some_and(|words| words.contains("not enough capacity")));
    assert_eq!(faults.refuse_group_launch(), None);
    assert_eq!(faults.calls(0).total, 0);
}

#[test]
fn what_is_no_plan_is_said_with_the_place_and_the_reason() {
    assert!(said("[[fault]]\naction = '*'\neffect = 'throttle'\nnht = 2").contains("unknown field `nht`"));
    assert!(said("[[fault]]\naction = '*'\neffect = 'trottle'").contains("unknown variant `trottle`"));
    let wrong = |more: &str| said(&format!("[[fault]]\naction = 'RunInstances'\n{more}"));
    assert!(
        said("[[fault]]\naction = 'RunInstance'\neffect = 'throttle'")
            .contains("fault 1 (throttle of RunInstance): no action")
    );
    assert!(wrong("effect = 'delay'").contains("needs milliseconds"));
    assert!(wrong("effect = 'hide'").contains("needs seconds or calls"));
    assert!(wrong("effect = 'throttle'\nnth = 0").contains("counts from 1"));
    assert!(wrong("effect = 'throttle'\nseconds = 3").contains("for_seconds"));
    assert!(wrong("effect = 'throttle'\nprobability = 2.0").contains("between 0 and 1"));
    assert!(said("[[faults]]").contains("unknown field"));
}

#[test]
fn a_file_that_changes_is_in_force_at_the_next_call_and_a_wrong_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("faults.toml");
    assert!(Faults::follow(&path).is_err(), "no such file");
    std::fs::write(&path, "").expect("written");
    let faults = Faults::follow(&path).expect("an empty plan");
    assert_eq!(failures(&faults, &[("ec2", "CreateTags")]), [0; 0]);
    std::fs::write(&path, "[[fault]]\naction = '*'\neffect = 'throttle'").expect("written");
    assert_eq!(failures(&faults, &[("ec2", "CreateTags")]), [2]);
    std::fs::write(&path, "[[fault]]\naction = '*'").expect("written");
    assert_eq!(failures(&faults, &[("ec2", "CreateTags")]), [3], "the former plan stays");
    assert!(faults.trouble().is_some_and(|trouble| trouble.contains("missing field `effect`")));
    std::fs::write(&path, "# none").expect("written");
    assert_eq!(failures(&faults, &[("ec2", "CreateTags")]), [0; 0]);
    assert_eq!(faults.trouble(), None);
}

#[test]
fn s3s_faults_are_those_that_the_daemon_tells_and_counts_are_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (told, file) = (dir.path().join("run/told.toml"), dir.path().join("faults.toml"));
    let s3 = Faults::heed(&told);
    let lists = |count: usize| failures(&s3, &vec![("s3", "ListBuckets"); count]);
    assert_eq!(lists(1), [0; 0], "no daemon has said anything");

    let daemon = Faults::default();
    daemon.tell(&told).expect("told");
    daemon.set("[[fault]]\naction = 'List*'\neffect = 'throttle'\nnth = 2").expect("a plan");
    assert_eq!(failures(&daemon, &[("iam", "ListRoles")]), [0; 0]);
    assert_eq!(lists(2), [3], "each counts for itself");
    daemon.set("[[fault]]\naction = 'List*'\neffect = 'throttle'\nnth = 2").expect("the same plan");
    assert_eq!(lists(2), [5], "put in force again, it counts anew");
    daemon.clear().expect("cleared");
    assert!(!told.exists());
    assert_eq!(lists(2), [0; 0]);

    std::fs::write(&file, "[[fault]]\naction = 's3.*'\neffect = 'throttle'\nnth = 2").expect("written");
    let daemon = Faults::follow(&file).expect("a plan");
    daemon.tell(&told).expect("told");
    assert_eq!(lists(2), [9]);
    std::fs::write(&file, "[[fault]]\naction = 's3.*'\neffect = 'throttle'\nfrom = 2").expect("written");
    assert_eq!(lists(2), [11], "S3 sees the change before the daemon");
    assert_eq!(failures(&daemon, &[("iam", "ListRoles")]), [0; 0], "which sees it now");
    assert_eq!(lists(1), [12], "and S3 goes on counting");
    std::fs::write(&file, "[[fault]]").expect("written");
    assert_eq!(lists(1), [13], "what is no plan changes nothing");
    assert_eq!(failures(&daemon, &[("iam", "ListRoles")]), [0; 0]);
    assert!(daemon.trouble().is_some());
    daemon.set("").expect("a plan");
    assert_eq!(lists(1), [0; 0], "another plan, at the socket");
    std::fs::write(&file, "[[fault]]\naction = 's3.*'\neffect = 'throttle'").expect("written");
    let _ = daemon.meet("iam", "ListRoles", "r");
    assert_eq!(lists(1), [15], "the file has changed, and the daemon has read it");
}

#[test]
fn an_object_is_hidden_for_so_many_looks_by_its_name_and_in_lists() {
    let faults = faults("[[fault]]\naction = 's3.*'\neffect = 'hide'\ncalls = 2");
    let verdict = faults.meet("s3", "PutObject", "r");
    faults.hide_object("b", Some("x/1"), &verdict);
    assert!(faults.shows_object("b", None) && faults.shows_object("b", Some("x/2")), "others are seen");
    assert!(faults.hidden_keys("b", "y").is_empty() && faults.hidden_keys("c", "").is_empty(), "no look for it");
    assert!(!faults.shows_object("b", Some("x/1")));
    assert_eq!(faults.hidden_keys("b", "x/").len(), 1);
    assert!(faults.shows_object("b", Some("x/1")) && faults.hidden_keys("b", "").is_empty());
    assert_eq!(faults.meet("s3", "GetObject", "r").hide, [], "it creates nothing");
}

fn input(name: &str, value: &str) -> Node {
    query::to_node([(name.to_owned(), value.to_owned())]).expect("a tree")
}

fn map(name: &str, value: Node) -> Node {
    Node::Map(vec![(name.to_owned().into(), value)])
}

fn text(value: &str) -> Node {
    Node::Text(value.to_owned())
}

/// A launch of `i-1`, and what describes `i-1` and `i-2`.
fn launched(faults: &Faults) -> Node {
    let verdict = faults.meet("ec2", "RunInstances", "r");
    let mut output = map("instancesSet", Node::List(vec![map("instanceId", text("i-1"))]));
    faults.veil("ec2", "RunInstances", &input("ImageId", "ami-1"), &mut output, &verdict);
    let reservation = |id: &str| map("instancesSet", Node::List(vec![map("instanceId", text(id))]));
    map("reservationSet", Node::List(vec![reservation("i-1"), reservation("i-2")]))
}

fn seen(faults: &Faults, output: &Node) -> bool {
    let mut output = output.clone();
    faults.veil("ec2", "DescribeInstances", &input("MaxResults", "9"), &mut output, &Verdict::default());
    let text = format!("{output:?}");
    assert!(text.contains("i-2"), "others are seen");
    text.contains("i-1")
}

#[test]
fn what_is_hidden_is_neither_found_nor_listed_until_it_was_looked_for_often_enough() {
    let faults = faults("[[fault]]\naction = 'RunInstances'\neffect = 'hide'\ncalls = 3");
    let list = launched(&faults);
    let refusal = faults.check_sight("ec2", "DescribeInstances", &input("InstanceId.1", "i-1"));
    assert_eq!(refusal.expect_err("hidden").code, "InvalidInstanceID.NotFound");
    assert_eq!(faults.check_sight("ec2", "DescribeInstances", &input("InstanceId.1", "i-2")), Ok(()));
    assert!(!seen(&faults, &list));
    let refusal = faults.check_sight("ec2", "CreateTags", &input("ResourceId.1", "i-1"));
    assert_eq!(refusal.expect_err("hidden").code, "InvalidInstanceID.NotFound");
    assert!(seen(&faults, &list), "three looks were enough");
    assert_eq!(faults.check_sight("ec2", "DescribeInstances", &input("InstanceId.1", "i-1")), Ok(()));
}

#[test]
fn a_group_that_is_hidden_is_only_left_out_where_it_is_described() {
    let faults = faults("[[fault]]\naction = 'CreateAutoScalingGroup'\neffect = 'hide'\nseconds = 600");
    let verdict = faults.meet("autoscaling", "CreateAutoScalingGroup", "r");
    let named = input("AutoScalingGroupName", "web");
    faults.veil("autoscaling", "CreateAutoScalingGroup", &named, &mut Node::Null, &verdict);
    let refusal = faults.check_sight("autoscaling", "SetDesiredCapacity", &named).expect_err("hidden");
    assert_eq!((refusal.code.as_str(), refusal.status), ("ValidationError", 400));
    let asked = input("AutoScalingGroupNames.member.1", "web");
    assert_eq!(faults.check_sight("autoscaling", "DescribeAutoScalingGroups", &asked), Ok(()));
    let mut answer = map("AutoScalingGroups", Node::List(vec![map("AutoScalingGroupName", text("web"))]));
    faults.veil("autoscaling", "DescribeAutoScalingGroups", &asked, &mut answer, &Verdict::default());
    assert_eq!(answer, map("AutoScalingGroups", Node::List(Vec::new())));
    faults.clear().expect("cleared");
    assert_eq!(faults.check_sight("autoscaling", "SetDesiredCapacity", &named), Ok(()));
}
