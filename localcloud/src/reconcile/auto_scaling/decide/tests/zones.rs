use super::*;
use crate::reconcile::auto_scaling::decide::Need;
use Lifecycle::{InService, Pending};

fn in_zone(id: &str, zone: &str, lifecycle: Lifecycle) -> Member {
    Member { zone: zone.to_owned(), ..member(id, lifecycle) }
}

/// Over the zones `a` and `b`, without a plan to change its size.
fn over_two(desired_capacity: u32, members: Vec<Member>) -> AutoScalingGroup {
    AutoScalingGroup {
        zones: vec!["a".into(), "b".into()],
        load_balancer_names: Vec::new(),
        ..group(desired_capacity, members)
    }
}

fn launches(group: &AutoScalingGroup) -> Vec<(Vec<String>, Need)> {
    let launch = |step| if let Step::Launch { zones, need, .. } = step { Some((zones, need)) } else { None };
    settled(group).into_iter().filter_map(launch).collect()
}

#[test]
fn launches_go_one_after_the_other_to_the_zone_with_the_fewest() {
    assert_eq!(launches(&over_two(3, Vec::new())), [(vec!["a".into(), "b".into(), "a".into()], Need::Capacity)]);
    let half = over_two(4, vec![in_zone("i-1", "a", InService), in_zone("i-2", "a", InService)]);
    assert_eq!(launches(&half), [(vec!["b".into(), "b".into()], Need::Capacity)]);
}

#[test]
fn those_that_go_come_from_the_zone_with_the_most_and_are_chosen_there_by_policy() {
    let members = ["a", "b", "b", "b"]
        .iter()
        .zip(1..)
        .map(|(zone, number)| Member { joined: at(number), ..in_zone(&format!("i-{number}"), zone, InService) });
    let mut crowded = over_two(1, members.collect());
    assert_eq!(released(&crowded), ["i-2", "i-3", "i-1"], "the two of b that are too many, then the oldest");
    crowded.termination_policies = vec!["NewestInstance".into()];
    assert_eq!(released(&crowded), ["i-4", "i-3", "i-2"]);
}

#[test]
fn a_zone_that_is_none_of_the_group_s_any_more_is_left_first() {
    let members = vec![in_zone("i-1", "a", InService), in_zone("i-2", "a", InService), in_zone("i-3", "c", InService)];
    assert_eq!(released(&over_two(2, members)), ["i-3"]);
}

#[test]
fn a_lopsided_group_launches_in_the_empty_zone_before_it_terminates_in_the_crowded_one() {
    let crowded = || (1..=3).map(|number| in_zone(&format!("i-{number}"), "a", InService)).collect::<Vec<_>>();
    let words = || Need::Balance("a, b had 3, 0 instances".into());
    assert_eq!(launches(&over_two(3, crowded())), [(vec!["b".into()], words())]);
    let with = |lifecycle| [crowded(), vec![in_zone("i-4", "b", lifecycle)]].concat();
    assert_eq!(released(&over_two(3, with(Pending))), [""; 0], "not before the other one is in service");
    assert_eq!(released(&over_two(3, with(InService))), ["i-1"]);
    let even = vec![in_zone("i-1", "a", InService), in_zone("i-2", "a", InService), in_zone("i-3", "b", InService)];
    assert_eq!(settled(&over_two(3, even)), [], "one more in a zone is no imbalance");
}

#[test]
fn a_lopsided_group_stays_while_balancing_is_suspended_or_nobody_could_leave() {
    let crowded = |protected| {
        let members = (1..=3).map(|number| Member {
            protected_from_scale_in: protected,
            ..in_zone(&format!("i-{number}"), "a", InService)
        });
        over_two(3, members.collect())
    };
    let mut suspended = crowded(false);
    suspended.suspended.insert("AZRebalance".into(), "a test".into());
    assert_eq!(settled(&suspended), []);
    assert_eq!(settled(&crowded(true)), []);
}
