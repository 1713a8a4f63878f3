//! The rule of a composite alarm: states of other alarms, joined by AND, OR and NOT
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>).

use std::collections::BTreeSet;

use super::alarm::{ALARM, INSUFFICIENT_DATA, OK};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmRule {
    Constant(bool),
    /// The named alarm is in this state.
    State {
        state: &'static str,
        /// Name or ARN, as written.
        alarm: String,
    },
    Not(Box<AlarmRule>),
    And(Box<AlarmRule>, Box<AlarmRule>),
    Or(Box<AlarmRule>, Box<AlarmRule>),
}

/// NOTs and parentheses within each other, so that a rule cannot exhaust the stack.
const DEEPEST: usize = 50;
const MOST_ALARMS: usize = 100;

impl AlarmRule {
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text, whole: text, depth: 0 };
        let rule = parser.any()?;
        parser.rest = parser.rest.trim_start();
        if !parser.rest.is_empty() {
            return Err(parser.unexpected("AND, OR or the end"));
        }
        if rule.alarms().len() > MOST_ALARMS {
            return Err(format!("the rule names more than {MOST_ALARMS} alarms"));
        }
        Ok(rule)
    }

    /// Whether it holds. `state_of` tells the state of an alarm, by name or ARN; no state is equal to that of an alarm that
    /// is not there.
    pub fn holds(&self, state_of: &mut impl FnMut(&str) -> Option<String>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::State { state, alarm } => state_of(alarm).is_some_and(|found| found == *state),
            Self::Not(rule) => !rule.holds(state_of),
            Self::And(left, right) => left.holds(state_of) && right.holds(state_of),
            Self::Or(left, right) => left.holds(state_of) || right.holds(state_of),
        }
    }

    /// The names of the alarms on which it depends.
    #[must_use]
    pub fn alarms(&self) -> BTreeSet<&str> {
        match self {
            Self::Constant(_) => BTreeSet::new(),
            Self::State { alarm, .. } => BTreeSet::from([name_of(alarm)]),
            Self::Not(rule) => rule.alarms(),
            Self::And(left, right) | Self::Or(left, right) => &left.alarms() | &right.alarms(),
        }
    }
}

/// The name in an alarm's ARN, or the name itself.
#[must_use]
pub fn name_of(name_or_arn: &str) -> &str {
    if !name_or_arn.starts_with("arn:") {
        return name_or_arn;
    }
    name_or_arn.split_once(":alarm:").map_or(name_or_arn, |(_, name)| name)
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// AND binds closer than OR.
    fn any(&mut self) -> Result<AlarmRule, String> {
        let mut rule = self.all()?;
        while self.takes_word("OR") {
            rule = AlarmRule::Or(Box::new(rule), Box::new(self.all()?));
        }
        Ok(rule)
    }

    fn all(&mut self) -> Result<AlarmRule, String> {
        let mut rule = self.one()?;
        while self.takes_word("AND") {
            rule = AlarmRule::And(Box::new(rule), Box::new(self.one()?));
        }
        Ok(rule)
    }

    fn one(&mut self) -> Result<AlarmRule, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the rule is nested deeper than {DEEPEST}"));
        }
        let rule = self.innermost();
        self.depth -= 1;
        rule
    }

    fn innermost(&mut self) -> Result<AlarmRule, String> {
        if self.takes("(") {
            let rule = self.any()?;
            return if self.takes(")") { Ok(rule) } else { Err(self.unexpected(")")) };
        }
        if self.takes_word("NOT") {
            return Ok(AlarmRule::Not(Box::new(self.one()?)));
        }
        for (word, value) in [("TRUE", true), ("FALSE", false)] {
            if self.takes_word(word) {
                return Ok(AlarmRule::Constant(value));
            }
        }
        for state in [ALARM, OK, INSUFFICIENT_DATA] {
            if self.takes_word(state) {
                return self.alarm().map(|alarm| AlarmRule::State { state, alarm });
            }
        }
        Err(self.unexpected("ALARM, OK, INSUFFICIENT_DATA, NOT, TRUE, FALSE or ("))
    }

    /// A name in parentheses, quoted if it holds what would end it.
    fn alarm(&mut self) -> Result<String, String> {
        if !self.takes("(") {
            return Err(self.unexpected("("));
        }
        let name = if self.takes("\"") {
            let (name, rest) =
                self.rest.split_once('"').ok_or_else(|| self.unexpected("a name with its closing \""))?;
            self.rest = rest;
            name
        } else {
            let end = self.rest.find(')').ok_or_else(|| self.unexpected("a name with its closing )"))?;
            let (name, rest) = self.rest.split_at(end);
            self.rest = rest;
            name.trim()
        };
        if name.is_empty() {
            return Err(self.unexpected("the name of an alarm"));
        }
        if self.takes(")") { Ok(name.to_owned()) } else { Err(self.unexpected(")")) }
    }

    fn takes(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word that no further letter follows. Case does not matter, as in AWS's own `false`.
    fn takes_word(&mut self, word: &str) -> bool {
        let rest: &'a str = self.rest.trim_start();
        let Some((found, after)) = rest.split_at_checked(word.len()) else { return false };
        let ends = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        if !found.eq_ignore_ascii_case(word) || !ends {
            return false;
        }
        self.rest = after;
        true
    }

    fn unexpected(&self, expected: &str) -> String {
        let position = self.whole.len() - self.rest.trim_start().len();
        format!("at position {position}, {expected} is expected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let rule = AlarmRule::parse(text).expect("a rule");
        rule.holds(&mut |alarm| match name_of(alarm) {
            "high" => Some(ALARM.to_owned()),
            "low one" => Some(OK.to_owned()),
            "new" => Some(INSUFFICIENT_DATA.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn rules_are_evaluated_with_their_precedence() {
        for (rule, expected) in [
            ("TRUE", true),
            ("false", false),
            ("ALARM(high)", true),
            ("OK ( \"low one\" )", true),
            ("ALARM(arn:aws:cloudwatch:r:1:alarm:high)", true),
            ("INSUFFICIENT_DATA(new) AND NOT ALARM(\"low one\")", true),
            ("ALARM(high) AND ALARM(new)", false),
            ("TRUE OR FALSE AND FALSE", true),
            ("(TRUE OR FALSE) AND FALSE", false),
            ("NOT (ALARM(high) OR OK(high))", false),
            ("OK(nobody) OR ALARM(nobody) OR INSUFFICIENT_DATA(nobody)", false),
        ] {
            assert_eq!(holds(rule), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_place() {
        for rule in ["", "ALARM", "ALARM()", "ALARM(a", "ALARM(\"a)", "TRUE TRUE", "(TRUE", "NOT", "ALARMS(a)", "a"] {
            assert!(AlarmRule::parse(rule).is_err(), "{rule}");
        }
        let said = AlarmRule::parse("ALARM(a) XOR OK(b)").expect_err("no operator");
        assert_eq!(said, "at position 9, AND, OR or the end is expected");
        assert!(AlarmRule::parse(&"(".repeat(100_000)).is_err(), "no deep nesting");
    }

    #[test]
    fn a_rule_knows_its_alarms() {
        let rule =
            AlarmRule::parse("ALARM(b) AND (OK(arn:aws:cloudwatch:r:1:alarm:a) OR NOT ALARM(b))").expect("a rule");
        assert_eq!(rule.alarms().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
