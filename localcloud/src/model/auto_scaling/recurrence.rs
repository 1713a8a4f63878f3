//! When a schedule recurs: a cron expression of five fields, in a time zone. Pure.

use jiff::{civil, tz::TimeZone};

use crate::model::time::Timestamp;

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// A 29 February on a given day of the week comes again after 28 years, but for a turn of the century.
const LONGEST_SEARCH_DAYS: usize = 366 * 28;

/// Minutes, hours, days of the month, months, days of the week: each the set of its numbers.
#[derive(Debug, Clone)]
pub struct Recurrence {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Where both kinds of day are restricted, either one is enough, as in every cron.
    either_day: bool,
    zone: TimeZone,
}

impl Recurrence {
    /// # Errors
    /// A sentence that says what is wrong with the expression or the zone.
    pub fn parse(expression: &str, time_zone: Option<&str>) -> Result<Self, String> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("a recurrence has five fields, `{expression}` has {}", fields.len()));
        };
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| format!("there is no time zone {name}"))?,
        };
        let mut weekday_set = set(weekdays, 0, 7, WEEKDAYS)?;
        // Sunday is 0 and 7.
        if weekday_set & (1 << 7) != 0 {
            weekday_set |= 1;
        }
        Ok(Self {
            minutes: set(minutes, 0, 59, &[])?,
            hours: set(hours, 0, 23, &[])?,
            days: set(days, 1, 31, &[])?,
            months: set(months, 1, 12, MONTHS)?,
            weekdays: weekday_set,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
            zone,
        })
    }

    /// The first time after the given one. A local time that a change of clocks skips is taken as long after midnight as
    /// it would have been; one that occurs twice counts once.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let local = self.zone.to_datetime(jiff::Timestamp::from_millisecond(time.millis()).ok()?);
        let days = std::iter::successors(Some(local.date()), |date| date.tomorrow().ok());
        days.take(LONGEST_SEARCH_DAYS).filter(|date| self.has_day(*date)).find_map(|date| self.on_day(date, time))
    }

    fn on_day(&self, date: civil::Date, after: Timestamp) -> Option<Timestamp> {
        let times = (0..24).filter(|hour| has(self.hours, *hour)).flat_map(|hour| {
            (0..60).filter(|minute| has(self.minutes, *minute)).map(move |minute| date.at(hour, minute, 0, 0))
        });
        times.filter_map(|local| self.zone.to_timestamp(local).ok()).map(Timestamp::from).find(|time| *time > after)
    }

    fn has_day(&self, date: civil::Date) -> bool {
        let of_month = has(self.days, date.day());
        let of_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { of_month || of_week } else { of_month && of_week }
    }
}

fn has(set: u64, number: i8) -> bool {
    set & (1 << number) != 0
}

/// `1,10-20/5,MON`
fn set(field: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("`{field}` is not a list of numbers from {least} to {most}, ranges and steps");
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let offset = |index: usize| u32::try_from(index).ok().map(|index| index + least);
        named.map_or_else(|| text.parse().ok(), offset).filter(|number| (least..=most).contains(number))
    };
    let mut set = 0;
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?)),
            None => (item, None),
        };
        let (from, to) = match (range.split_once('-'), range) {
            (_, "*") => (least, most),
            (Some((from, to)), _) => (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?),
            (None, single) => {
                let from = number(single).ok_or_else(wrong)?;
                // `5/15` goes on to the end.
                (from, if step.is_some() { most } else { from })
            }
        };
        if from > to {
            return Err(wrong());
        }
        for number in (from..=to).step_by(step.unwrap_or(1)) {
            set |= 1 << number;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone: Option<&str>, after: &str) -> String {
        let after = Timestamp::from(after.parse::<jiff::Timestamp>().expect("a time"));
        let recurrence = Recurrence::parse(expression, zone).expect("an expression");
        recurrence.next_after(after).map_or_else(|| "never".to_owned(), |time| time.to_string())
    }

    #[test]
    fn the_next_time_is_after_the_last_one() {
        let after = "2026-11-24T12:00:00Z";
        assert_eq!(next("* * * * *", None, after), "2026-11-24T12:01:00.000Z");
        assert_eq!(next("0 12 * * *", None, after), "2026-11-25T12:00:00.000Z");
        assert_eq!(next("*/15 9-17 * * MON-FRI", None, "2026-11-27T17:45:00Z"), "2026-11-30T09:00:00.000Z");
        // The example of the API reference.
        assert_eq!(next("30 0 1 1,6,12 *", None, after), "2026-12-01T00:30:00.000Z");
        assert_eq!(next("0 0 29 2 *", None, after), "2028-02-29T00:00:00.000Z");
        assert_eq!(next("0 0 30 2 *", None, after), "never");
    }

    #[test]
    fn either_kind_of_day_is_enough_where_both_are_restricted() {
        // The 1st is a Tuesday.
        assert_eq!(next("0 0 1 * SUN", None, "2026-11-24T12:00:00Z"), "2026-11-29T00:00:00.000Z");
        assert_eq!(next("0 0 1 * 7", None, "2026-11-29T00:00:00Z"), "2026-12-01T00:00:00.000Z");
    }

    #[test]
    fn a_zone_moves_it_through_the_year() {
        assert_eq!(next("0 9 * * *", Some("Europe/Berlin"), "2026-06-30T12:00:00Z"), "2026-07-01T07:00:00.000Z");
        assert_eq!(next("0 9 * * *", Some("Europe/Berlin"), "2026-12-30T12:00:00Z"), "2026-12-31T08:00:00.000Z");
        // Half past two does not occur on that day.
        assert_eq!(next("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z"), "2026-03-29T01:30:00.000Z");
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "x * * * *"]
        {
            assert!(Recurrence::parse(wrong, None).is_err(), "{wrong}");
        }
        assert!(Recurrence::parse("* * * * *", Some("Middle/Earth")).is_err());
    }
}
